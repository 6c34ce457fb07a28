"""<rng>: random numbers of the host for the guest. An optional feature of StratoVirt's build."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from reconciler.domain.model import Device, Need, Place
from reconciler.domain.reading import ADDRESS, ALIAS_RULE, at, driver, path, place
from reconciler.domain.rules import PATH, Attribute, choice, element, number, silent
from reconciler.domain.xml_builder import Tag, address, alias, tag

if TYPE_CHECKING:
    from reconciler.domain.options import Option, Options
    from reconciler.domain.reading import Reading
    from reconciler.domain.xml import Node

PERIOD = 1000  # milliseconds; libvirt's default
LEAST, MOST = 64, 10**9  # bytes a second that StratoVirt takes
RNG = element(
    "rng", Attribute("model", choice("virtio", "virtio-transitional", "virtio-non-transitional")),
    element("rate", Attribute("bytes", number(1, 10**12)), Attribute("period", number(1, 10**9))),
    element("backend", Attribute("model", choice("random", "egd", "builtin")), *silent("source"),
            text=PATH, empty=True),
    ADDRESS, ALIAS_RULE, *silent("driver", "acpi"), many=True)
RULES = (RNG,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rng(Device):
    """`bytes` in each `period` of milliseconds; no limit where `bytes` is None."""

    KIND: ClassVar[str] = "rng"
    RANK: ClassVar[int] = 55
    FEATURE: ClassVar[str] = "virtio-rng-pci"

    path: str
    bytes: int | None = None
    period: int = PERIOD

    def needs(self) -> tuple[Need, ...]:
        """A character device, and no other."""
        return (Need(self.path, "character", line=self.line),)

    def tag(self) -> Tag:
        """As <rng>."""
        rate = None if self.bytes is None else tag("rate", bytes=self.bytes, period=self.period)
        return tag("rng", rate, tag("backend", model="random", text=self.path), alias(self.alias),
                   address(self.place), model="virtio")

    def arguments(self, place: Place | None) -> tuple[str, ...]:
        """The source, then the device; StratoVirt wants both limits or none."""
        limit = f",max-bytes={self.bytes},period={self.period}" if self.bytes is not None else ""
        return ("-object", f"rng-random,id=obj{self.alias},filename={self.path}", "-device",
                (f"{driver('virtio-rng', place)},rng=obj{self.alias}{limit},id={self.alias}"
                f"{at(place)}"))


def read_all(devices: Node, reading: Reading) -> list[Rng]:
    """From every <rng>; those without alias are counted by what they are."""
    found = sorted((r for node in devices.children("rng")
                    if (r := _read(node, reading)) is not None),
                   key=lambda r: (r.path, r.bytes or 0, r.period))
    taken = {r.alias for r in found}
    free = (name for n in range(2 * len(found)) if (name := f"rng{n}") not in taken)
    return [r if r.alias else replace(r, alias=next(free)) for r in found]


def _read(node: Node, reading: Reading) -> Rng | None:
    model = node.text("backend/@model")
    if node.child("backend") is None or node.at("backend").raw.get("model") is None:
        node.error("no backend; accepted: <backend model='random'>/dev/urandom</backend>")
        return None
    if model not in (None, "random"):
        node.at("backend").error(f"model='{model}'; accepted: random")
    amount, period = node.number("rate/@bytes"), node.number("rate/@period") or PERIOD
    if node.child("rate") is not None and node.at("rate").raw.get("bytes") is None:
        node.at("rate").error("no bytes; accepted: bytes='…' with or without period='…'")
    if amount is not None and not LEAST <= amount * 1000 / period <= MOST:
        node.at("rate").error(f"{amount} bytes in {period} ms; accepted: {LEAST} to {MOST} bytes a "
                              "second")
    return Rng(alias=node.text("alias/@name") or "", bytes=amount, period=period,
               path=path(reading, node.text("backend")) or "/dev/random", place=place(node),
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
