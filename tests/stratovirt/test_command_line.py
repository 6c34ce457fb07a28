"""From a file to StratoVirt's arguments: golden/command_lines, an option and its value a line.

`UPDATE_GOLDEN=1 pytest tests/stratovirt/test_command_line.py` rewrites them.
"""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler import samples
from reconciler.domain.model import ReadingHost
from reconciler.domain.numbers import complete
from reconciler.domain.reader import read_domain
from reconciler.stratovirt.addresses import lay_out
from reconciler.stratovirt.command_line import Start, arguments, qmp_argument
from tests.domain.making import read
from tests.simulator.support import LIMIT, SIMULATOR, Client

HERE = Path(__file__).parents[1] / "golden" / "command_lines"
FILES = sorted(HERE.glob("*.xml"))
STARTABLE = [file for file in FILES if b"machine='q35'" in file.read_bytes()]
QCOW2 = b"QFI\xfb\0\0\0\3" + bytes(1 << 16)
BZIMAGE = bytes(0x1FE) + b"\x55\xaa\0\0HdrS\x0f\2" + bytes(4096)
HOME = Path("/run/r/vms/a")
BINARIES = ("/usr/bin/stratovirt",)


def words(file: Path, home: Path, images: Path, nvram: Path, *, spare: int = 1,
          hugepages: str = "/dev/hugepages") -> list[str]:
    host = ReadingHost("aarch64" if "aarch64" in file.stem else "x86_64", images, nvram,
                       emulators=BINARIES)
    domain = complete(read_domain(file.read_bytes(), file.name, host), {})
    return arguments(domain, Start(home, lay_out(domain, {}, spare),
                                   domain.policy.state == "paused", hugepages))


def lines(found: list[str]) -> str:
    """An option and its value a line."""
    pairs: list[str] = []
    for word in found:
        if word.startswith("-") or not pairs:
            pairs.append(word)
        else:
            pairs[-1] += f" {word}"
    return "\n".join(pairs) + "\n"


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_a_file_becomes_the_command_line_that_stands_beside_it(file):
    found = lines(words(file, HOME, Path("/images"), Path("/nvram")))
    kept = file.with_suffix(".args")
    if os.environ.get("UPDATE_GOLDEN"):
        kept.write_text(found)
    assert kept.exists(), f"write it: UPDATE_GOLDEN=1; it would be:\n{found}"
    assert found == kept.read_text()


def test_every_command_line_has_its_file():
    assert {file.stem for file in FILES} == {file.stem for file in HERE.glob("*.args")}
    assert len(FILES) > 8
    assert len(STARTABLE) > 5


@pytest.mark.parametrize("file", STARTABLE, ids=[file.stem for file in STARTABLE])
def test_stratovirts_stand_in_takes_every_q35_command_line(file, tmp_path):
    images, home = tmp_path / "images", tmp_path / "home"
    for directory in (images, home, tmp_path / "nvram"):
        directory.mkdir()
    found = words(file, home, images, tmp_path / "nvram", hugepages=str(home))
    for word in found:
        if word.startswith("file="):
            path = Path(word.partition(",")[0].removeprefix("file="))
            path.write_bytes(samples.firmware() if ",if=pflash" in word else
                             QCOW2 if ",format=qcow2" in word else bytes(1 << 16))
    (images / "vmlinuz").write_bytes(BZIMAGE)
    (images / "initrd.img").write_bytes(bytes(4096))
    built = {**os.environ, "STRATOVIRT_SIMULATOR": json.dumps({"*": {"features": ["all"]}})}
    with subprocess.Popen([*SIMULATOR, *found], cwd="/", stderr=subprocess.PIPE, env=built,
                          stdin=subprocess.DEVNULL, text=True) as vm:
        try:
            client = Client(home / "qmp.sock")
            with closing(client):
                paused = "-S" in found
                assert client.ask("query-status")["return"] == {
                    "running": not paused, "singlestep": False,
                    "status": "paused" if paused else "running"}
                assert client.ask("quit")["return"] == {}
            assert vm.wait(LIMIT) == 0
        except BaseException:
            vm.kill()
            print(vm.stderr.read())
            raise


def test_the_qmp_socket_of_a_directory_is_on_its_command_line():
    domain = read()
    found = arguments(domain, Start(HOME, lay_out(domain, {}, 0)))
    assert found[found.index("-qmp") + 1] == qmp_argument(HOME) == (
        "unix:/run/r/vms/a/qmp.sock,server,nowait")
    assert "socket,id=people,path=/run/r/vms/a/monitor.sock,server,nowait" in found
    assert "-S" not in found


def test_what_devices_plug_into_comes_before_them():
    domain = read()
    found = arguments(domain, Start(HOME, lay_out(domain, {}, 2), paused=True))
    ports = [word.startswith("pcie-root-port") for word in found
             if word.startswith(("pcie-", "virtio-"))]
    assert ports == [True] * 4 + [False] * 2
    assert found[-1] == "-S"


def test_rule_4_the_order_of_the_file_changes_no_command_line():
    domain = read(devices="<memballoon model='virtio'/><disk><source file='a.img'/>"
                          "<target dev='vda'/></disk>")
    other = read(devices="<disk><source file='a.img'/><target dev='vda'/></disk>"
                         "<memballoon model='virtio'/>")
    assert arguments(domain, Start(HOME, lay_out(domain, {}, 1))) == (
        arguments(other, Start(HOME, lay_out(other, {}, 1))))


def test_a_title_or_a_policy_is_not_on_it():
    domain = read()
    other = replace(domain, title="T", description="D", file="b.xml")
    start = Start(HOME, lay_out(domain, {}, 1))
    assert arguments(domain, start) == arguments(other, start)
