"""`plan`: the very value that the engine would execute, for every file, without doing it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING

from reconciler.domain.model import Domain, InvalidDomain, Policy
from reconciler.domain.reader import read_domain
from reconciler.engine.plan import Facts, VmState, make_plan
from reconciler.sources.directory import Incomplete, listing
from reconciler.stratovirt import process
from reconciler.stratovirt.qmp import Qmp, QmpError

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.settings import Settings


async def _observe(directory: Path, limit: float) -> VmState:
    if not process.locked(directory):
        return VmState.ABSENT
    try:
        # The monitor for people: the reconciler holds the other one.
        qmp = await Qmp.connect(directory / "monitor.sock", lambda _name: None, limit)
        try:
            answer = await qmp.execute("query-status", limit)
        finally:
            qmp.close()
    except QmpError:
        return VmState.UNKNOWN
    return VmState.RUNNING if answer["running"] else VmState.PAUSED


def plan(settings: Settings) -> int:
    """Print each domain's plan; 0 nothing to do, 1 changes, 2 an error."""

    def read(data: bytes, file: str) -> Domain:
        return read_domain(data, file, settings.images, settings.state, settings.arch, Policy())

    try:
        files = listing(settings.domains)
    except Incomplete as error:
        print(f"reconciler: {error}", file=sys.stderr)
        return 2
    worst, names = 0, set()
    for file, data in files.items():
        try:
            domain = read(data, file)
        except InvalidDomain as error:
            print(error, file=sys.stderr)
            worst = 2
            continue
        names.add(domain.name)
        directory, applied = settings.vm(domain.name), None
        with contextlib.suppress(OSError, InvalidDomain):
            applied = read((directory / "definition.xml").read_bytes(), "applied")
        vm = asyncio.run(_observe(directory, settings.qmp_timeout))
        decided = make_plan(Facts(domain, applied, vm), 0.0)
        steps = " ".join(decided.steps) or "nothing to do"
        changes = f" ({', '.join(decided.pending)} changed)" if decided.pending else ""
        print(f"{domain.name}: {vm} -> {domain.policy.state}: {steps}{changes}")
        if decided.steps or decided.pending:
            worst = max(worst, 1)
    with contextlib.suppress(FileNotFoundError):
        for entry in sorted((settings.runtime / "vms").iterdir()):
            if entry.name not in names and worst < 2:
                print(f"{entry.name}: no file: stop forget, by its prune policy")
                worst = 1
    return worst
