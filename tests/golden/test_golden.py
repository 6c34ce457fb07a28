"""Whole files, each beside what becomes of it: NAME.expected, or NAME.errors if it is refused.

`UPDATE_GOLDEN=1 pytest tests/golden` rewrites the expected files; review the difference.
"""

from __future__ import annotations

import os
from dataclasses import fields, replace
from pathlib import Path

import pytest

from reconciler.domain.devices import Channel
from reconciler.domain.expand import Given, expand
from reconciler.domain.merge import read_defaults
from reconciler.domain.model import Domain, InvalidDomain, MachineType
from reconciler.domain.numbers import complete
from reconciler.domain.place import Place
from reconciler.domain.policy import Policy
from reconciler.domain.reader import read_domain
from reconciler.domain.substitute import Variables
from tests.domain.making import ARM, HOST

HERE = Path(__file__).parent
FILES = sorted(HERE.glob("*.xml"))


def shown(domain: Domain) -> list[str]:
    """A Domain, line by line: its fields, each device's arguments, the warnings."""
    domain = complete(domain, {})
    boot = domain.boot
    lines = [f"{name}: {value}" for name, value in (
        ("name", domain.name), ("uuid", domain.uuid), ("machine", domain.machine),
        ("memory", domain.memory >> 20), ("current memory", domain.current_memory),
        ("backing", domain.backing), ("vcpus", domain.vcpus),
        ("current vcpus", domain.current_vcpus), ("gic", domain.gic),
        ("emulator", domain.emulator), ("iothreads", domain.iothreads), ("title", domain.title))]
    lines += [f"boot: {name} {getattr(boot, name)}" for name in (
        "kernel", "initrd", "cmdline", "loader", "nvram", "nvram_template") if getattr(boot, name)]
    lines += [f"policy: {field.name} {value}" for field in fields(Policy)
              if (value := getattr(domain.policy, field.name)) != getattr(Policy(), field.name)]
    for device in domain.devices:
        lines.append(f"{device.KIND}[{device.key}] at {device.place or 'a place of ours'}")
        place = device.place
        if place is None and domain.machine is not MachineType.MICROVM:
            place = Place(99, 0) if device.PLUGGED else Place(0, 9)
        full = device
        if isinstance(device, Channel) and device.backend == "unix" and device.path is None:
            full = replace(device, path=f"/run/vm/{device.socket}")  # as the command line does
        lines += [f"    {word}" for word in full.arguments(place)]
    return lines + [str(warning) for warning in domain.warnings]


def compare(file: Path, lines: list[str]) -> None:
    text = "\n".join(lines) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text)
    assert file.exists(), f"write it: UPDATE_GOLDEN=1; it would be:\n{text}"
    assert text == file.read_text()


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_a_file_becomes_what_stands_beside_it(file):
    host = ARM if "aarch64" in file.stem else HOST
    try:
        domain = read_domain(file.read_bytes(), file.name, host)
    except InvalidDomain as error:
        compare(file.with_suffix(".errors"), [str(problem) for problem in error.problems])
        assert not file.with_suffix(".expected").exists()
    else:
        compare(file.with_suffix(".expected"), shown(domain))
        assert not file.with_suffix(".errors").exists()


def test_defaults_variables_and_a_count_become_what_stands_beside_them():
    place = HERE / "expanded"
    variables = Variables((("BRIDGE", "br0"), ("SITE", "Köln & <Umland>"), ("WEBS", "2")))
    defaults = read_defaults((place / "defaults.xml").read_bytes(), "defaults.xml", variables,
                             lenient=False)
    found = expand((place / "web.xml").read_bytes(), "web.xml", HOST, Given(variables, defaults))
    lines = []
    for definition in found.definitions:
        lines += [f"# {definition.note}", *definition.data.decode().splitlines(), "",
                  *shown(definition.domain), ""]
    compare(place / "web.expected", lines)


def test_every_expectation_has_its_file():
    stems = {file.stem for file in FILES}
    assert stems == {file.stem for file in HERE.iterdir()
                     if file.suffix in (".expected", ".errors")}
    assert len(stems) > 8
