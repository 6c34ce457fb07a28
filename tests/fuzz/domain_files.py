"""Domain files made from the reader's own tables, then spoilt: deterministic by seed and number.

A file begins as a sound one (`sound`), gets more of what its rows accept (`decorated`), is spoilt
as a tree (`_TREE`) and then as bytes (`_BYTES`); many get only some of these, so that enough of
them are accepted for what comes after the reader to be looked at, too.
"""

from __future__ import annotations

import string
from random import Random
from xml.sax.saxutils import escape

from reconciler.domain.metadata import RULE, URN
from reconciler.domain.rules import Element, RowVerdict
from reconciler.domain.table import DOMAIN
from tests.fuzz.pieces import Piece, piece
from tests.fuzz.values import RAW, hostile, right

XI = "http://www.w3.org/2001/XInclude"


def make(seed: int, number: int, outside: tuple[str, ...]) -> bytes:
    """The file of this number. `outside` are addresses that reading it must never touch."""
    random = Random(f"{seed}/{number}")
    root = decorated(sound(random), DOMAIN, random, random.choice((0, 0.03, 0.06, 0.25)))
    for _ in range(random.choice((0, 0, 1, 1, 1, 1, 2, 4))):
        random.choice(_TREE)(root, random, outside)
    text = root.written()
    if random.random() < 0.07:
        text = random.choice(_HEADS).format(outside=random.choice(outside)) + text
    data = text.encode("utf-8", "surrogatepass")
    for _ in range(random.choice((0, 0, 0, 0, 0, 0, 1, 2))):
        data = random.choice(_BYTES)(data, random)
    return data


# Sound files


def sound(random: Random) -> Piece:
    """A file that the reader accepts, or nearly: rows that need each other are there together."""
    micro = random.random() < 0.15
    devices = [disk(random, "vda")]
    for make_one, chance in _DEVICES:
        if random.random() < chance:
            devices.append(make_one(random))
    if micro:
        devices = [d for d in devices if d.attributes.get("model") != "pcie-root-port"]
    random.shuffle(devices)
    parts = [piece("name", random.choice(("a", "web1", "A.b_c+d-e"))),
             piece("memory", random.choice(("256", "512")), unit="MiB"),
             piece("os", piece("type", "hvm", machine="microvm" if micro else "q35"),
                   piece("kernel", "/k") if micro or random.random() < 0.3 else None,
                   piece("cmdline", "console=hvc0 rw") if random.random() < 0.6 else None),
             piece("iothreads", "2") if random.random() < 0.3 else None,
             piece("metadata", policy(random)) if random.random() < 0.2 else None,
             piece("devices", *devices)]
    random.shuffle(parts)
    return piece("domain", *parts, type="kvm")


def disk(random: Random, target: str = "") -> Piece:
    name = target or f"vd{random.choice('bcdefg')}"
    return piece("disk", piece("driver", name="qemu", type=random.choice(("raw", "qcow2"))),
                 piece("source", file=f"/images/{name}.img"), piece("target", dev=name,
                                                                    bus="virtio"),
                 piece("serial", f"S{name}") if random.random() < 0.3 else None,
                 type="file", device="disk")


def _interface(random: Random) -> Piece:
    tap = piece("target", dev=f"tap{random.randrange(9)}") if random.random() < 0.5 else None
    return piece("interface", piece("source", bridge="br0"), piece("model", type="virtio"), tap,
                 type=random.choice(("ethernet", "bridge")))


def _port(random: Random) -> Piece:
    return piece("controller", type="pci", model="pcie-root-port",
                 index=str(random.randrange(1, 9)))


def _console(random: Random) -> Piece:
    kind = random.choice(("pty", "file", "unix"))
    return piece("console", piece("source", path=f"/run/{random.randrange(9)}") if kind != "pty"
                 else None, piece("target", type="virtio"), type=kind)


def _serial(random: Random) -> Piece:
    kind = random.choice(("pty", "file", "unix"))
    end = piece("source", path="/run/serial") if kind != "pty" else None
    return piece("serial", end, type=kind)


def _channel(random: Random) -> Piece:
    return piece("channel", piece("source", path=random.choice(("/run/agent", "/a/libvirt/b"))),
                 piece("target", type="virtio", name="org.qemu.guest_agent.0"), type="unix")


def _alias(random: Random) -> Piece:
    return piece("memballoon", piece("alias", name=random.choice(("ua-1", "net7", "b"))),
                 model="virtio")


def _rng(random: Random) -> Piece:
    limit = piece("rate", bytes="1234", period="1000") if random.random() < 0.5 else None
    return piece("rng", limit, piece("backend", "/dev/urandom", model="random"), model="virtio")


def _vsock(random: Random) -> Piece:
    auto = random.random() < 0.5
    return piece("vsock", piece("cid", auto="yes" if auto else "no", address="7"), model="virtio")


def _hostdev(random: Random) -> Piece:
    where = piece("address", domain="0x0000", bus=f"{random.randrange(1, 9):#x}", slot="0x00",
                  function="0x0")
    return piece("hostdev", piece("source", where), mode="subsystem", type="pci", managed="yes")


def _graphics(random: Random) -> Piece:
    return piece("graphics", type="vnc", port=random.choice(("-1", "5901")), autoport="yes")


def _video(random: Random) -> Piece:
    return piece("video", piece("model", type=random.choice(("virtio", "qxl"))))


def _scsi(random: Random) -> Piece:
    name = f"sd{random.choice('abcdefg')}"
    return piece("disk", piece("source", file=f"/images/{name}.img"),
                 piece("target", dev=name, bus="scsi"), type="file",
                 device=random.choice(("disk", "cdrom")))


_DEVICES = ((_rng, 0.2), (_vsock, 0.2), (_hostdev, 0.2), (_graphics, 0.2), (_video, 0.2),
            (_scsi, 0.3), (disk, 0.4), (_interface, 0.5), (_interface, 0.2), (_port, 0.2),
            (_console, 0.3), (_console, 0.15), (_serial, 0.3), (_channel, 0.2), (_alias, 0.2))


def policy(random: Random) -> Piece:
    """Our element, with whatever its rows accept."""
    found = decorated(Piece("reconcile", {"xmlns": URN}), RULE, random, 0.3)
    found.attributes["xmlns"] = URN
    return found


def decorated(at: Piece, row: Element, random: Random, chance: float) -> Piece:
    """More attributes and elements of the row's own, with right values."""
    for attribute in row.attributes:
        place = (row.name, attribute.name)
        if attribute.name not in at.attributes and random.random() < (
                chance * _LIKELY[attribute.verdict] * (place not in _SELDOM or 0.05)):
            at.attributes[attribute.name] = _TOLD.get(place) or _value(attribute.type, random)
    for child in at.inside:
        if isinstance(child, Piece) and child.name in row.by_name:
            decorated(child, row.by_name[child.name], random, chance)
    for rule in row.children:
        name = rule.name.rpartition("}")[2]
        if random.random() < chance * _LIKELY[rule.verdict] * (
                (row.name, name) not in _SELDOM or 0.05) and (
                    rule.many or at.child(name) is None):
            at.inside.append(decorated(_bare(rule, random), rule, random, chance + 0.2))
    return at


def _bare(rule: Element, random: Random) -> Piece:
    """A new element: of devices one that works."""
    name = rule.name.rpartition("}")[2]
    if name in _WORKING and rule.text is None and random.random() < 0.95:
        return _WORKING[name](random)
    if name == "emulator":
        return piece("emulator", "/usr/bin/stratovirt")
    return piece(name, _value(rule.text, random) if rule.text is not None else None)


def _value(kind, random: Random) -> str:
    words = right(kind)
    return words[0] if random.random() < 0.5 else random.choice(words)


_FREE = {"file", "dev", "path", "bridge", "name", "template", "alias", "serial", "kernel", "initrd",
         "cmdline", "loader", "nvram"}
# What other values of the same file decide about: seldom added, so that most files stay sound.
_SELDOM = {("disk", "shareable"), ("interface", "boot"), ("os", "firmware"), ("features", "gic"),
           ("domain", "currentMemory"), ("driver", "iothread"), ("loader", "secure"),
           ("loader", "type"), ("devices", "serial"), ("devices", "graphics"), ("disk", "boot"),
           ("devices", "video"), ("source", "mode"), ("vcpu", "current"), ("vcpu", "placement"),
           ("cpu", "topology"), ("link", "state"), ("os", "boot"), ("driver", "io"),
           ("controller", "address"), ("domain", "vcpu")}
_TOLD = {("type", "arch"): "x86_64", ("label", "name"): "team", ("ignore", "path"): "/a"}
_WORKING = {"disk": disk, "interface": _interface, "controller": _port, "console": _console,
            "channel": _channel, "serial": _serial,
            "ignore": lambda random: piece("ignore", path="/a"),
            "rng": _rng, "vsock": _vsock, "hostdev": _hostdev, "video": _video,
            "label": lambda random: piece("label", name=random.choice(("team", "a", "b")))}
_LIKELY = {RowVerdict.ACCEPT: 1.0, RowVerdict.IGNORE: 0.5, RowVerdict.WARN: 0.3,
           RowVerdict.REJECT: 0.02,
           RowVerdict.NOT_YET: 0.02}


# Spoilt as trees


def _any(root: Piece, random: Random) -> Piece:
    return random.choice(list(root.all()))


def _new_name(name: str, random: Random) -> str:
    at = random.randrange(len(name) + 1)
    return random.choice((name[:at] + random.choice(string.ascii_letters) + name[at:],
                          name[:at] + name[at + 1:] or "x", name.upper(), f"q:{name}", "x" * 3000,
                          "é", "name", "disk", "address", "reconcile"))


def _unknown_element(root, random, outside):
    found = _any(root, random)
    found.name = _new_name(found.name, random)


def _unknown_attribute(root, random, outside):
    found = _any(root, random)
    name = _new_name(random.choice([*found.attributes, "type"]), random)
    found.attributes[name] = hostile(random)


def _doubled(root, random, outside):
    found = _any(root, random)
    if found.inside:
        again = random.choice(found.inside)
        found.inside += [again] * random.choice((1, 1, 1, 2, 300))


def _left_out(root, random, outside):
    found = _any(root, random)
    if found.inside:
        found.inside.remove(random.choice(found.inside))
    elif found.attributes:
        del found.attributes[random.choice(list(found.attributes))]


def _moved(root, random, outside):
    """A copy, so that the tree stays one."""
    _any(root, random).inside.append(_any(root, random).written())


def _wrong_attribute(root, random, outside):
    found = random.choice([p for p in root.all() if p.attributes] or [root])
    found.attributes[random.choice([*found.attributes, "type"])] = hostile(random)


def _wrong_text(root, random, outside):
    found = random.choice([p for p in root.all()
                           if not any(isinstance(c, Piece) for c in p.inside)] or [root])
    found.inside = [escape(hostile(random))]


def _free(root, random, outside):
    """A hostile value where the reader takes nearly any: a path, a name, a serial number."""
    places = [(p, name) for p in root.all() for name in p.attributes if name in _FREE] + [
        (p, None) for p in root.all() if p.name in _FREE]
    if places:
        found, name = random.choice(places)
        if name is None:
            found.inside = [escape(hostile(random))]
        else:
            found.attributes[name] = hostile(random)


def _raw_text(root, random, outside):
    found = _any(root, random)
    found.inside.insert(random.randrange(len(found.inside) + 1), random.choice(RAW))


def _around(root, random, outside):
    """A value with something before or after it."""
    found = _any(root, random)
    more = random.choice((*RAW, " ", "\n", "-", ",", "=", "\u00a0"))
    found.inside = random.choice(([more, *found.inside], [*found.inside, more]))


def _deep(root, random, outside):
    depth = random.choice((60, 64, 65, 255, 300, 5000))
    _any(root, random).inside.append("<a>" * depth + "</a>" * depth)


def _many(root, random, outside):
    count = random.choice((200, 4_900, 10_001))
    inside = random.choice(("<a/>", "<metadata/>", "<watchdog/>", "<disk/>", "<a b='c'/>", "<x:y/>",
                            "<interface type='ethernet'/>", "<boot dev='hd'/>", "x<!---->",
                            "<controller type='pci' model='pcie-root-port'/>", "<iothread/>",
                            "<seclabel type='dynamic'/>", "<feature name='x'/>"))
    _any(root, random).inside.append(inside * min(count, (1 << 20) // len(inside) - 1000))


def _crowded(root, random, outside):
    """Many devices of a kind, each right."""
    make_one = random.choice((
        lambda n: f"<interface type='ethernet'><target dev='t{n}'/></interface>",
        lambda n: f"<controller type='pci' index='{n % 254 + 1}' model='pcie-root-port'/>",
        lambda n: "<controller type='pci' model='pcie-root-port'/>",
        lambda n: f"<disk type='file'><source file='{n}'/><target dev='vd{_letters(n)}'/></disk>",
        lambda n: "<interface type='ethernet'/>"))
    (root.child("devices") or root).inside += map(
        make_one, range(random.choice((20, 200, 245, 300, 1600))))


def _letters(number: int) -> str:
    return "".join(chr(97 + number // 26 ** power % 26) for power in (2, 1, 0))


def _wide(root, random, outside):
    found, prefix = _any(root, random), random.choice(("a", "a", "xmlns:a", "xml:a"))
    for number in range(random.choice((20, 101, 2000, 40_000))):
        found.attributes[f"{prefix}{number}"] = "x"


def _foreign(root, random, outside):
    """Elements that name what is outside of the file."""
    address = random.choice(outside)
    _any(root, random).inside.append(random.choice((
        f"<xi:include xmlns:xi='{XI}' href='{address}' parse='text'/>",
        f"<include xmlns='{XI}' href='{address}'/>",
        f"<x xmlns:s='http://www.w3.org/2001/XMLSchema-instance' s:schemaLocation='a {address}'/>",
        f"<x xmlns='{address}'/>", f"<x xml:base='{address}'/>",
        f"<?xml-stylesheet href='{address}'?>",
        "<q:commandline xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'/>",
        f"<r:reconcile xmlns:r='{URN}' state='stopped'/>",
        f"<metadata><r:reconcile xmlns:r='{URN}' stat='x'/></metadata>")))


_TREE = (_unknown_element, _unknown_attribute, _doubled, _left_out, _moved, _deep, _many, _crowded,
         _wide, _foreign, _raw_text, _raw_text, _around, _around, *[_free] * 8,
         *[_wrong_attribute] * 4, *[_wrong_text] * 3)


# Spoilt as bytes


_ENTITIES = [f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 10)]
_HEADS = (
    "<!DOCTYPE domain>", "<!DOCTYPE domain SYSTEM '{outside}'>",
    "<!DOCTYPE domain PUBLIC 'a' '{outside}'>", "<!DOCTYPE domain [<!ENTITY a '-S'>]>",
    "<!DOCTYPE domain [<!ENTITY a SYSTEM '{outside}'>]>",
    "<!DOCTYPE domain [<!ENTITY % a SYSTEM '{outside}'>%a;]>",
    "<!DOCTYPE domain [<!ATTLIST domain type CDATA 'qemu'>]>",
    f"<!DOCTYPE d [<!ENTITY a0 '-S'>{''.join(_ENTITIES)}<!ENTITY a '&a9;'>]>",
    "<?xml version='1.0'?>", "<?xml version='1.1'?>", "<?xml version='1.0' encoding='utf-16'?>",
    "<?xml version='1.0' encoding='latin-1'?>", "<?xml version='1.0' encoding='utf-7'?>",
    "<?xml version='1.0' encoding='ebcdic-cp-us'?>", "<?xml version='1.0' encoding='no-such'?>",
    "<?xml version='1.0' standalone='yes'?>", "<?xml-stylesheet href='{outside}'?>",
    "<!-- c -->", "\n\n", "\ufeff", " ", "x")


def _truncated(data, random):
    return data[:random.randrange(len(data) + 1)]


def _flipped(data, random):
    spoilt = bytearray(data)
    for _ in range(random.choice((1, 1, 3, 20))):
        if spoilt:
            spoilt[random.randrange(len(spoilt))] ^= 1 << random.randrange(8)
    return bytes(spoilt)


def _inserted(data, random):
    at = random.randrange(len(data) + 1)
    more = random.choice((*_INSERTED, random.randbytes(8)))
    return data[:at] + more + data[at:]


def _cut(data, random):
    at = random.randrange(len(data) + 1)
    return data[:at] + data[at + random.randrange(60):]


def _encoded(data, random):
    """In another encoding, which the file declares, or does not."""
    name, declared = random.choice(_ENCODINGS), random.choice((*_ENCODINGS, "", ""))
    head = f"<?xml version='1.0' encoding='{declared}'?>" if declared else ""
    text = data.decode("utf-8", "replace")
    return (head + text).encode(name, "replace")


def _again(data, random):
    return data + random.choice((b"", b"\n", b"<!-- c -->")) + data


_INSERTED = (b"\x00", b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\xc0\xaf", b"\xed\xa0\x80", b"<",
             b">", b"'", b'"', b"&", b"-", b",", b"=", b"\r", b"\t", b"\n" * 70_000)
_ENCODINGS = ("utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "utf-7", "cp037",
              "ascii", "shift_jis")
_BYTES = (_truncated, _flipped, _flipped, _inserted, _inserted, _cut, _encoded, _encoded, _again)
