"""<interface>: a virtio-net device on a tap of the host."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from reconciler.domain.model import Command, Device, ExclusiveResource, Impact, RequiredFile
from reconciler.domain.place import Place
from reconciler.domain.read_context import ADDRESS, ALIAS_RULE, at, digest, driver, place
from reconciler.domain.rules import (
    BRIDGE_OR_TAP,
    YES_NO,
    Attribute,
    choice,
    element,
    ignore,
    matching,
    number,
    reject,
    warn,
)
from reconciler.domain.xml_builder import XmlElement, address, alias, build, build_if_set

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.domain.model import Origins
    from reconciler.domain.options import Option, Options
    from reconciler.domain.read_context import ReadContext
    from reconciler.domain.rules import Element
    from reconciler.domain.xml import Node

_MAC = matching(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}", "six bytes such as 52:54:00:12:34:56")
_ISOLATION = "without it the guest could reach more or less; configure it on the host instead"
# Parts of sources of other types: the type is one error, and its parts need none of their own.
_ELSEWHERE: tuple[Attribute | Element, ...] = (
    *ignore("@connectionid", "@portgroupid", "@switchid", "@address", "@port", "@name", "@path",
            "@type", "@missing"),
    *ignore("address", "local", "reconnect", "vendor", "product"))
INTERFACE = element(
    "interface",
    Attribute("type", choice("ethernet", "bridge", "network", "user", "direct", "hostdev",
                             "vhostuser", "udp", "mcast", "server", "client", "internal", "vdpa")),
    *ignore("@trustGuestRxFilters", "@managed"),
    element("mac", Attribute("address", _MAC), *ignore("@type", "@check")),
    element("source", Attribute("bridge", BRIDGE_OR_TAP),
            *ignore("@network", "@portid", "@dev", "@mode", "@portgroup"), *_ELSEWHERE,
            warn("@macTableManager", "the host's bridge learns addresses by itself"),
            *(reject(name, "configure addresses and routes on the host; remove it")
              for name in ("ip", "route"))),
    element("target", Attribute("dev", BRIDGE_OR_TAP), *ignore("@managed")),
    element("model", Attribute("type", choice("virtio", "e1000", "e1000e", "rtl8139", "vmxnet3",
                                              "virtio-transitional", "virtio-non-transitional"))),
    element("driver", Attribute("name", choice("vhost", "qemu")), Attribute("queues",
                                                                            number(1, 16)),
            warn("@rx_queue_size", "StratoVirt does not accept it"),
            warn("@tx_queue_size", "StratoVirt does not accept it"),
            *ignore("@iommu", "@ats", "@packed", "@txmode", "@ioeventfd", "@event_idx", "@rss",
                    "@rss_hash_report", "@page_per_vq"),
            *ignore("host", "guest")),
    element("link", Attribute("state", choice("up", "down"))),
    element("boot", Attribute("order", number(1, 255)), *ignore("@loadparm")),
    ADDRESS, ALIAS_RULE, *ignore("acpi", "backenddomain"),
    warn("coalesce", "set it on the host"), warn("rom", "StratoVirt loads no option ROMs"),
    warn("guest", "StratoVirt cannot pass names"), warn("script", "no scripts are run"),
    warn("downscript", "no scripts are run"), warn("tune", "set it on the host"),
    element("mtu", Attribute("size", number(68, 65535))),
    element("vlan", Attribute("trunk", YES_NO),
            element("tag", Attribute("id", number(1, 4094)),
                    Attribute("nativeMode", choice("tagged", "untagged")), many=True)),
    warn("teaming", "StratoVirt does not support it"),
    warn("backend", "StratoVirt has a single one"), warn("ip", "set it in the guest"),
    warn("route", "set it in the guest"),
    reject("bandwidth", _ISOLATION),
    reject("filterref", _ISOLATION), reject("virtualport", _ISOLATION),
    reject("port", _ISOLATION), reject("portForward", _ISOLATION), many=True)
RULES = (INTERFACE,)


@dataclass(frozen=True, slots=True, order=True)
class Vlan:
    """A VLAN of a bridge port; `untagged`: it takes the guest's frames without a tag."""

    tag: int
    untagged: bool = False

    def __str__(self) -> str:
        return f"{self.tag}{' untagged' if self.untagged else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface(Device):
    """A MAC or a tap that the file does not give is derived once, and kept by assigned.py."""

    KIND: ClassVar[str] = "interface"
    RANK: ClassVar[int] = 10
    HOTPLUG: ClassVar[bool] = True
    IMPACT: ClassVar[dict[str, Impact]] = {"bridge": Impact.HOST, "mtu": Impact.HOST,
                                           "vlans": Impact.HOST, "up": Impact.LIVE}
    PATHS: ClassVar[dict[str, str]] = {
        **Device.PATHS, "tap": "target/@dev", "mac": "mac/@address", "bridge": "source/@bridge",
        "queues": "driver/@queues", "vhost": "driver/@name", "up": "link/@state",
        "mtu": "mtu/@size", "vlans": "vlan"}
    WORDS: ClassVar[dict[str, tuple[str, str]]] = {
        "vhost": ("vhost", "qemu"), "up": ("up", "down")}

    tap: str
    mac: str
    bridge: str | None = None
    queues: int | None = None
    vhost: bool = False
    up: bool = True  # the link state that the guest sees
    mtu: int | None = None  # of the tap
    vlans: tuple[Vlan, ...] = ()  # of the tap's bridge port

    @property
    def key(self) -> str:
        """The MAC address, by which the guest knows it."""
        return self.mac

    @property
    def labels(self) -> tuple[str, ...]:
        """Its MAC address, alias or tap."""
        return self.mac, self.alias, self.tap

    @property
    def feature(self) -> str:
        """The kernel's vhost device is optional."""
        return "vhost-net" if self.vhost else ""

    def required_files(self) -> tuple[RequiredFile, ...]:
        """The kernel's vhost device, where it is used."""
        return (RequiredFile("/dev/vhost-net", "character", line=self.line),) if self.vhost else ()

    def exclusive_resources(self) -> tuple[ExclusiveResource, ...]:
        """Its MAC address and its tap."""
        return (ExclusiveResource("MAC address", self.mac, self.line),
                ExclusiveResource("tap", self.tap, self.line))

    def arguments(self, place: Place | None) -> tuple[str, ...]:
        """The tap, then the network card."""
        net = f"tap,id=host{self.alias},ifname={self.tap}"
        card = (f"{driver('virtio-net', place)},netdev=host{self.alias},id={self.alias},"
                f"mac={self.mac}{at(place)}")
        if self.queues and self.queues > 1:
            net += f",queues={self.queues}"
            card += ",mq=on"
        return ("-netdev", net + (",vhost=on" if self.vhost else ""), "-device", card)

    def to_xml(self) -> XmlElement:
        """Its <interface>."""
        trunk = len(self.vlans) > 1 or any(not vlan.untagged for vlan in self.vlans)
        tags = (build("tag", id=vlan.tag,
                      nativeMode="untagged" if trunk and vlan.untagged else None)
                for vlan in self.vlans)
        return build(
            "interface", build("mac", address=self.mac), build_if_set("source", bridge=self.bridge),
            build("target", dev=self.tap), build("model", type="virtio"),
            build_if_set("driver", name="vhost" if self.vhost else None, queues=self.queues),
            build("vlan", *tags, trunk="yes" if trunk else None) if self.vlans else None,
            None if self.up else build("link", state="down"), build_if_set("mtu", size=self.mtu),
            alias(self.alias), address(self.place), type="bridge" if self.bridge else "ethernet")

    def plug(self, place: Place) -> tuple[Command, ...]:
        """The tap, then the card; a netdev that an earlier attempt left is removed first."""
        net: dict[str, object] = {"id": f"host{self.alias}", "ifname": self.tap}
        card: dict[str, object] = {
            "id": self.alias, "driver": "virtio-net-pci", "netdev": f"host{self.alias}",
            "mac": self.mac, "bus": f"pcie.{place.bus}", "addr": f"{place.slot:#x}"}
        if self.queues and self.queues > 1:
            net["queues"], card["mq"] = self.queues, "on"
        if self.vhost:
            net["vhost"] = True
        link = () if self.up else (self._link(up=False),)
        return (Command("netdev_del", {"id": f"host{self.alias}"}, anyway=True),
                Command("netdev_add", net), Command("device_add", card), *link)

    def unplug(self) -> tuple[Command, ...]:
        """The card, once the guest has released it; then its tap."""
        return (Command("device_del", {"id": self.alias}, until="DEVICE_DELETED"),
                Command("netdev_del", {"id": f"host{self.alias}"}, anyway=True))

    def adjust(self, wanted: Self) -> tuple[Command, ...]:
        """The link up or down."""
        return () if self.up == wanted.up else (self._link(up=wanted.up),)

    def _link(self, *, up: bool) -> Command:
        return Command("netlink_set", {"id": self.alias, "up": up})


def read_all(devices: Node, context: ReadContext) -> list[Interface]:
    """Read all <interface> elements and fill in what they leave out.

    Derived values depend on the values of that element only, so that other interfaces, or another
    order, do not change them. Elements without any name are numbered per bridge. These are the
    values of a new interface: domain/assigned.py replaces them with those that one had before.
    """
    cards = sorted((card for node in devices.children("interface")
                    if (card := _read(node)) is not None),
                   key=lambda card: (card.place is None, card.place or Place(0, 0),
                                     card.queues or 0, card.vhost))
    seen: dict[str, int] = {}
    found = []
    for card in cards:
        key = card.mac or card.tap or card.alias
        if not key:
            count = seen[card.bridge or ""] = seen.get(card.bridge or "", 0) + 1
            key = f"{card.bridge or ''}#{count}"
        hexa = digest(context, key)
        found.append(replace(card, mac=card.mac or mac_of(hexa), tap=card.tap or f"sv{hexa[:10]}",
                             origins=_origins(card, context)))
    return named(found)


def named(cards: Iterable[Interface]) -> list[Interface]:
    """With libvirt's names for those whose element gives none, in the order of MAC addresses."""
    found = sorted(cards, key=lambda card: card.key)
    given = {card.alias for card in found if "alias" not in dict(card.origins)}
    free = (name for number in range(len(found) * 2) if (name := f"net{number}") not in given)
    return [card if card.alias in given else replace(card, alias=next(free)) for card in found]


def mac_of(hexa: str) -> str:
    """A MAC address of QEMU's vendor prefix from hexadecimal digits."""
    return f"52:54:00:{hexa[:2]}:{hexa[2:4]}:{hexa[4:6]}"


def _origins(card: Interface, context: ReadContext) -> Origins:
    """Of the fields that its element leaves out."""
    origin = context.origin
    return tuple((name, origin) for name in ("mac", "tap", "alias") if not getattr(card, name))


def _read(node: Node) -> Interface | None:
    """Read an <interface>; tap, MAC and alias are empty where the file does not give them."""
    kind = node.text("@type")
    if kind not in ("ethernet", "bridge"):
        if kind is not None or node.raw.get("type") is None:
            hint = " (name the bridge: type='bridge' with <source bridge='…'/>)" if (
                kind == "network") else ""
            node.error(f"type='{kind or ''}'; accepted: ethernet, bridge{hint}")
        return None
    bridge = node.text("source/@bridge")
    if kind == "bridge" and bridge is None:
        node.error("no bridge; accepted: <source bridge='br0'/>")
    model = node.text("model/@type")
    if model not in (None, "virtio", "virtio-non-transitional"):
        node.at("model").error(f"type='{model}'; accepted: virtio")
    if node.child("boot") is not None:
        node.at("boot").error("StratoVirt cannot boot from the network")
    given, target = node.text("mac/@address"), node.text("target/@dev")
    if target is not None and target.startswith("vnet"):
        target = None  # a name of libvirt's, which chooses another one at each start
    if target is not None and target in ("lo", bridge):
        node.at("target").error(f"dev='{target}' is "
                                + ("the bridge itself" if target == bridge else "the loopback "
                                   "interface") + "; accepted: the name of a tap")
    mac = (given or "").lower()
    if mac and int(mac[:2], 16) & 1:
        node.at("mac").error(f"{mac} is a multicast address; accepted: an even first byte")
    return Interface(tap=target or "", mac=mac, bridge=bridge,
                     queues=node.number("driver/@queues"),
                     vhost=node.text("driver/@name") == "vhost",
                     up=node.text("link/@state") != "down", mtu=node.number("mtu/@size"),
                     vlans=_vlans(node, bridge),
                     alias=node.text("alias/@name") or "", place=place(node), line=node.line)


def _vlans(node: Node, bridge: str | None) -> tuple[Vlan, ...]:
    """One tag: the guest does not see it. Several, or trunk='yes': the guest sees the tags."""
    child = node.child("vlan")
    if child is None:
        return ()
    if bridge is None:
        child.error("a VLAN without a bridge; accepted: with <source bridge='…'/>")
    tags = [(tag.number("@id"), tag.text("@nativeMode")) for tag in child.children("tag")]
    known = [(number, mode) for number, mode in tags if number is not None]
    if not tags:
        child.error("no tag; accepted: <tag id='42'/>")
    if child.flag("@trunk") is False and len(tags) > 1:
        child.error(f"{len(tags)} tags with trunk='no'; accepted: one, or trunk='yes'")
    trunk = child.flag("@trunk") or len(tags) > 1
    found = {Vlan(number, untagged=mode == "untagged" or not trunk) for number, mode in known}
    if sum(vlan.untagged for vlan in found) > 1 or len({v.tag for v in found}) < len(known):
        child.error("a duplicate tag, or two with nativeMode='untagged'; accepted: each tag once, "
                    "at most one untagged")
    return tuple(sorted(found))


def recognise(options: Options) -> list[Interface]:
    """From the command line; the bridge is the one that the tap is attached to now."""
    found: list[Interface] = []
    for number_, option in enumerate(options.take("-device", "virtio-net-pci",
                                                  "virtio-net-device")):
        card = _recognised(option, options, f"net{number_}")
        if card is not None:
            found.append(card if card.mac else replace(card, mac=_default_mac(found)))
    return found


def _recognised(option: Option, options: Options, name: str) -> Interface | None:
    net = options.backend(option, "-netdev", "netdev")
    tap = net.text("ifname") if net is not None and net.kind == "tap" else None
    if net is None or tap is None:
        option.note("its netdev is not a tap with a name")
        return None
    option.skip("mq", "vectors")
    return Interface(tap=tap, mac=(option.text("mac") or "").lower(),
                     bridge=options.context.bridge_of(tap), queues=net.number("queues"),
                     vhost=net.truth("vhost") or False, alias=options.alias(option, name),
                     place=options.place(option))


def _default_mac(before: list[Interface]) -> str:
    """StratoVirt's default: the first address that no card before it has."""
    taken = {card.mac for card in before}
    return next(mac for last in range(0x56, 0x56 + len(taken) + 1)
                if (mac := f"52:54:00:12:34:{last:02x}") not in taken)
