"""<rng>: random numbers from the host. An optional feature of StratoVirt's build."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from reconciler.domain.model import Device, RequiredFile
from reconciler.domain.read_context import ADDRESS, ALIAS_RULE, at, driver, path, place
from reconciler.domain.rules import PATH, Attribute, choice, element, ignore, number
from reconciler.domain.xml_builder import XmlElement, address, alias, build

if TYPE_CHECKING:
    from reconciler.domain.options import Option, Options
    from reconciler.domain.place import Place
    from reconciler.domain.read_context import ReadContext
    from reconciler.domain.xml import Node

PERIOD = 1000  # milliseconds; libvirt's default
LEAST, MOST = 64, 10**9  # bytes per second that StratoVirt accepts
RNG = element(
    "rng", Attribute("model", choice("virtio", "virtio-transitional", "virtio-non-transitional")),
    element("rate", Attribute("bytes", number(1, 10**12)), Attribute("period", number(1, 10**9))),
    element("backend", Attribute("model", choice("random", "egd", "builtin")), *ignore("source"),
            text=PATH, empty=True),
    ADDRESS, ALIAS_RULE, *ignore("driver", "acpi"), many=True)
RULES = (RNG,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rng(Device):
    """`bytes` per `period`, in milliseconds; no limit where `bytes` is None."""

    KIND: ClassVar[str] = "rng"
    RANK: ClassVar[int] = 55
    FEATURE: ClassVar[str] = "virtio-rng-pci"
    PATHS: ClassVar[dict[str, str]] = {
        **Device.PATHS, "path": "backend", "bytes": "rate/@bytes", "period": "rate/@period"}

    path: str
    bytes: int | None = None
    period: int = PERIOD

    def required_files(self) -> tuple[RequiredFile, ...]:
        """The source, which must be a character device."""
        return (RequiredFile(self.path, "character", line=self.line),)

    def to_xml(self) -> XmlElement:
        """Its <rng>."""
        rate = None if self.bytes is None else build("rate", bytes=self.bytes, period=self.period)
        backend = build("backend", model="random", text=self.path)
        return build("rng", rate, backend, alias(self.alias), address(self.place), model="virtio")

    def arguments(self, place: Place | None) -> tuple[str, ...]:
        """The source, then the device; StratoVirt requires both limits or neither."""
        limit = f",max-bytes={self.bytes},period={self.period}" if self.bytes is not None else ""
        return ("-object", f"rng-random,id=obj{self.alias},filename={self.path}", "-device",
                (f"{driver('virtio-rng', place)},rng=obj{self.alias}{limit},id={self.alias}"
                f"{at(place)}"))


def read_all(devices: Node, context: ReadContext) -> list[Rng]:
    """Read every <rng>; aliases that the file leaves out follow the order of their values."""
    found = sorted((r for node in devices.children("rng")
                    if (r := _read(node, context)) is not None),
                   key=lambda r: (r.path, r.bytes or 0, r.period))
    taken = {r.alias for r in found}
    free = (name for n in range(2 * len(found)) if (name := f"rng{n}") not in taken)
    return [r if r.alias else replace(r, alias=next(free)) for r in found]


def _read(node: Node, context: ReadContext) -> Rng | None:
    model = node.text("backend/@model")
    if node.child("backend") is None or node.at("backend").raw.get("model") is None:
        node.error("no backend; accepted: <backend model='random'>/dev/urandom</backend>")
        return None
    if model not in (None, "random"):
        node.at("backend").error(f"model='{model}'; accepted: random")
    amount, period = node.number("rate/@bytes"), node.number("rate/@period") or PERIOD
    if node.child("rate") is not None and node.at("rate").raw.get("bytes") is None:
        node.at("rate").error("no bytes; accepted: bytes='…', period='…' is optional")
    if amount is not None and not LEAST <= amount * 1000 / period <= MOST:
        node.at("rate").error(f"found {amount} bytes per {period} ms; accepted: {LEAST} to {MOST} "
                              "bytes per second")
    return Rng(alias=node.text("alias/@name") or "", bytes=amount, period=period,
               path=path(context, node.text("backend")) or "/dev/random", place=place(node),
               line=node.line)


def recognise(options: Options) -> list[Rng]:
    """From the command line."""
    found = (_recognised(option, options, f"rng{number}") for number, option in enumerate(
        options.take("-device", "virtio-rng-pci", "virtio-rng-device")))
    return [device for device in found if device is not None]


def _recognised(option: Option, options: Options, name: str) -> Rng | None:
    source = options.backend(option, "-object", "rng")
    file = options.path(source.text("filename")) if source is not None else None
    if file is None:
        return None
    return Rng(alias=options.alias(option, name), path=file, bytes=option.number("max-bytes"),
               period=option.number("period") or PERIOD, place=options.place(option))
