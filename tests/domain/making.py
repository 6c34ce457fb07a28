"""Small domain files, and what becomes of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.domain.model import Domain, InvalidDomain, Problem, ReadingHost
from reconciler.domain.reader import read_domain

HOST = ReadingHost("x86_64", Path("/images"), Path("/state/nvram"),
                   emulators=("/usr/bin/stratovirt",))
ARM = replace(HOST, arch="aarch64")
OS = "<os><type arch='x86_64' machine='q35'>hvm</type></os>"
MICROVM = "<os><type machine='microvm'>hvm</type><kernel>/k</kernel></os>"
DISK = "<disk type='file'><source file='a.img'/><target dev='vda' bus='virtio'/></disk>"
MEMORY = "<memory unit='MiB'>256</memory>"
URN = "urn:stratovirt-reconciler:1"


def disk(target: str = "vdb", file: str = "b.img", inner: str = "", driver: str = "") -> str:
    return (f"<disk type='file' device='disk'><driver name='qemu' {driver}/><source file='{file}'/>"
            f"<target dev='{target}' bus='virtio'/>{inner}</disk>")


def at(bus: int, slot: int, function: int = 0) -> str:
    return (f"<address type='pci' domain='0x0000' bus='{bus:#04x}' slot='{slot:#04x}' "
            f"function='{function:#x}'/>")


def policy(attributes: str = "", inner: str = "") -> str:
    return (f"<metadata><r:reconcile xmlns:r='{URN}' {attributes}>{inner}</r:reconcile></metadata>")


def text(*parts: str, name: str = "a", memory: str = MEMORY, os: str = OS, devices: str = DISK,
         head: str = "") -> bytes:
    """`devices` is the inside of <devices>; `parts` stand beside it."""
    return (f"{head}<domain type='kvm'><name>{name}</name>{memory}{os}{''.join(parts)}"
            f"<devices>{devices}</devices></domain>").encode()


def read(*parts: str, host: ReadingHost = HOST, file: str = "a.xml", **values: str) -> Domain:
    return read_domain(text(*parts, **values), file, host)


def problems(*parts: str, host: ReadingHost = HOST, **values: str) -> tuple[Problem, ...]:
    """The problems of a file that must be refused."""
    with pytest.raises(InvalidDomain) as caught:
        read(*parts, host=host, **values)
    return tuple(p for p in caught.value.problems if not p.warning)


def error(*parts: str, host: ReadingHost = HOST, **values: str) -> Problem:
    """The one problem of a file that must be refused."""
    found, *more = problems(*parts, host=host, **values)
    assert not more, "\n".join(map(str, (found, *more)))
    return found


def warnings(*parts: str, host: ReadingHost = HOST, **values: str) -> list[str]:
    return [problem.message for problem in read(*parts, host=host, **values).warnings]


def device(domain: Domain, kind: str, index: int = 0):
    return [d for d in domain.devices if kind == d.KIND][index]
