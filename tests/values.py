"""Values that many tests start from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from reconciler.domain.model import Boot, Domain, MachineType, ReadingHost
from reconciler.domain.policy import DesiredState, Policy
from reconciler.engine.decide.inputs import Inputs, Now, Vm, VmState

HOST = ReadingHost("x86_64", Path("/images"), Path("/state/nvram"))
XML = """<domain type='kvm'><name>{name}</name><memory unit='MiB'>{memory}</memory>{head}
<os><type arch='x86_64' machine='q35'>hvm</type>
<loader type='pflash' readonly='yes'>fw.fd</loader></os>
<devices><disk type='file'><source file='{name}.img'/><target dev='vda' bus='virtio'/></disk>
{devices}</devices><metadata>
<r:reconcile xmlns:r='urn:stratovirt-reconciler:1' state='{state}'>{inner}</r:reconcile></metadata>
</domain>"""


def xml(name: str = "a", state: str = "running", memory: int = 128, inner: str = "",
        devices: str = "", head: str = "") -> bytes:
    """A small domain file; `head` is what stands beside its memory."""
    return XML.format(name=name, state=state, memory=memory, inner=inner,
                      devices=devices, head=head).encode()


UNKNOWN = {"added later": {"a": [1]}}


def of_a_newer_version(path: Path) -> None:
    """A JSON file gets unknown fields in every object that has fixed keys."""
    value = json.loads(path.read_text())

    def more(part):
        if isinstance(part, list):
            return [more(each) for each in part]
        if not isinstance(part, dict):
            return part
        return {key: each if key in ("read_with", "exits") else
                {name: {**place, **UNKNOWN} for name, place in each.items()}
                if key in ("places", "ports") else more(each)
                for key, each in part.items()} | UNKNOWN

    path.write_text(json.dumps(more(value)))


def domain(state: DesiredState = DesiredState.RUNNING, memory: int = 128,
           **policy: object) -> Domain:
    """A small Domain."""
    return Domain("a", "11111111-2222-5333-8444-555555555555", MachineType.Q35, memory << 20, 1,
                  boot=Boot(loader="/images/fw.fd"), policy=replace(Policy(state=state), **policy),
                  file="a.xml")


def inputs(wanted: Domain | None = None, state: VmState = VmState.ABSENT,
           **values: object) -> Inputs:
    """Inputs of a domain that is as it should be, except for `values`."""
    wanted = domain() if wanted is None else wanted
    pid = None if state is VmState.ABSENT else 42
    return replace(Inputs(wanted, Vm(state, pid), generation=1,
                          running=None if pid is None else wanted), **values)


NOW = Now(1000.0, 1_800_000_000.0)
