"""Right values by type, and hostile ones for every type."""

from __future__ import annotations

from functools import cache
from random import Random

from reconciler.domain.rules import ANY, OPTION, PASSED, PATH, TEXT, Type

# Every type of the tables must find a right value here; test_reader.py holds that.
POOL = (
    "1", "2", "3", "8", "64", "128", "256", "512", "4096", "0x0", "0x1", "0x02", "0x1f", "7",
    "vda", "vdb", "vdc", "hda", "52:54:00:12:34:56", "52:54:00:ab:cd:ef", "br0", "tap0", "eth1",
    "disk0", "net7", "web1", "db-2", "500ms", "10s", "5m",
    "2h", "7d", "2026-12-24T18:00:00Z", "team", "KiB",
    "MiB", "b", "GB", "0a5b3f60-7a3b-4b9e-9a77-2d5c9f1d2e11", "0a5b3f607a3b4b9e9a772d5c9f1d2e12",
    "0000:03:00.0", "262144", "524288", "127.0.0.1", "127.0.0.1:80", "/dev/urandom", "/a/b",
    "0x8086", "login:", "1-3", "5900", "5901")
_SPECIAL = {
    PATH: ("/srv/images/a.img", "a.img", "./b.qcow2", "/dev/vg0/lv1", "../c.img", "/a b/é.img"),
    OPTION: ("WD-1234", "qemu", "a b", "/x"),
    PASSED: ("console=hvc0 root=/dev/vda rw", "quiet", "a=b,c=d -- -e"),
    TEXT: ("a title", "näme", "two\nlines"),
    ANY: ("anything", "virtio", "serial", "org.qemu.guest_agent.0", "qxl"),
}
HUGE = ("99999999999999999999", "-1", "18446744073709551616", "1e9", "1" * 400, "0x" + "f" * 40,
        "2147483648", "00000000000000000000001", "+1", "1.5", "٣", "0b1", "1_000")
SPLITTING = (
    "-S", "-daemonize", "--", "-", ",", "=", "a,b", "a=b", "/a,readonly=on", "a,if=pflash,unit=0",
    "x,id=y", "/a\u2028,b", "a;b", "$(id)", "`id`", "|id", "a&&b", "%s%n", "{0}", "../../../etc",
    "/proc/self/mem", "/dev/null", "//a", "/", ".", "..", "", " ", "\t", "a\tb", "a\nb", "a\r\nb",
    "\u202eevil", "e\u0301", "\u00a0", "\u2003-S", "\u00a0-S", "\u200b-S", "\ufeff", "\ufffd",
    "\x85-S", "\U0001f600", "\ud7ff", "ﬀ", "İ", "ß", "none", "None", "null", "true", "yes", "on",
    "no", "0", "virtio", "pci", "''", '"', "<a>", "]]>", "&amp;", "vnet0", "sv0000000000",
    "people", "/run/vm/qmp.sock", "/x/libvirt/y", "pcie.0", "unix:a", "chardev:x")
# Bytes that no XML file may hold, or that a parser expands; written as they are.
RAW = (
    "\x00", "\x01", "\x0b", "\x1b[2J", "\x7f", "&#0;", "&#1;", "&#x1b;", "&#10;", "&#13;-S",
    "&#xD800;", "&#xFFFE;", "&#44;b=c", "&#x2d;S", "&#61;", "&a;", "&lol;", "&amp;a;", "&lt;a/&gt;",
    "<![CDATA[a]]>", "<![CDATA[-S]]>", "<![CDATA[a,b=c]]>", "<![CDATA[", "]]>", "<!-- c -->",
    "a<!-- c -->b", "<!-- -- -->", "<!--", "<?x y?>", "<?xml version='1.0'?>", "<", "&", "&;",
    "<a/>", "a<b/>c", "-<!---->S", "<!---->-S", "a<!---->,b")


@cache
def right(kind: Type) -> tuple[str, ...]:
    """Values that this type accepts; the words of a choice come first."""
    words = _SPECIAL.get(kind) or (*kind.name.split(", "), *POOL)
    return tuple(dict.fromkeys(word for word in words if accepts(kind, word)))


def accepts(kind: Type, text: str) -> bool:
    try:
        kind.parse(text)
    except ValueError:
        return False
    return True


def hostile(random: Random) -> str:
    """A value that an attacker would inject; it may hold characters that XML does not allow."""
    kind = random.random()
    if kind < 0.2:
        return random.choice(SPLITTING[:10])
    if kind < 0.55:
        return random.choice(SPLITTING)
    if kind < 0.75:
        return random.choice(HUGE)
    if kind < 0.85:
        letters = random.choice(("x", "/", "é", "a,", "-", " "))
        return letters * random.choice((65, 256, 5000, 200_000))
    return "".join(chr(random.choice((random.randrange(32, 127), random.randrange(160, 0xd7ff),
                                      random.randrange(0x10000, 0x110000))))
                   for _ in range(random.randrange(1, 12)))
