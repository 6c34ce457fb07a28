"""The domain file that describes a StratoVirt process of another tool: for `import`.

Its command line (stratovirt/recognise.py), what the host knows of it, and one question to its
monitor become a Domain; that is written, and read again as the reconciler will read it, so that
every difference is reported before a user relies on the file.
"""

from __future__ import annotations

import asyncio
import os
import stat
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.domain.difference import differences
from reconciler.domain.expand import expand
from reconciler.domain.model import Impact, InvalidDomain, Problem
from reconciler.domain.options import ImportContext, Unrecognised
from reconciler.domain.policy import DesiredState
from reconciler.domain.reader import read_domain
from reconciler.domain.substitute import literal
from reconciler.domain.writer import write
from reconciler.domain.xml_paths import STATE
from reconciler.engine.composition import given_in, reading_host
from reconciler.errors import QmpError, UsageError
from reconciler.host import hugepages, links
from reconciler.stratovirt import binary, process
from reconciler.stratovirt.qmp import Qmp
from reconciler.stratovirt.recognise import recognise
from reconciler.stratovirt.recognition import home_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.domain.difference import Change
    from reconciler.domain.model import Domain, ReadingHost
    from reconciler.settings import Settings
    from reconciler.stratovirt.recognise import Recognised

PATIENCE = 2.0  # seconds; a monitor that another client uses never answers


@dataclass(frozen=True, slots=True)
class TakenOver:
    """The file, what it does not say, and what makes it invalid; where its monitors are.

    `text` says what the VM is; a file of it has `for_a_file`, which nothing is replaced in.
    """

    domain: Domain
    monitors: tuple[str, ...]
    answers: bool  # whether the last of them does; one that another client uses does not
    text: str
    left: tuple[Unrecognised, ...]
    problems: tuple[Problem, ...]

    @property
    def for_a_file(self) -> str:
        """The text as it is written to a file."""
        return literal(self.text)


def take_over(settings: Settings, pid: int) -> TakenOver:
    """Describe the VM of a process; raises UsageError if it is not StratoVirt."""
    host = reading_host(settings)
    every = process.command_line(pid)
    if not every:
        raise UsageError(f"no process {pid}", reason="NotFound")
    words = binary.arguments_of(every, host.emulators)
    if words is None:
        raise UsageError(f"process {pid} is not a StratoVirt process: {every[0]}",
                         reason="NotFound",
                         hint="name its program in hypervisor.allowed if it is one")
    try:
        "\n".join(every).encode()
    except UnicodeEncodeError:
        raise UsageError(f"process {pid}: its command line is not UTF-8, as a file must be"
                         ) from None
    words = _without(words, settings.hypervisor.arguments)
    found = recognise(words, _surroundings(settings, pid, words))
    state, unknown = asyncio.run(_state(found))
    emulator, another = _emulator(settings, pid, every, host)
    domain = replace(found.domain, emulator=emulator, policy=replace(host.defaults, state=state))
    text = write(domain, host.defaults)
    problems, changed = _read_again(settings, text, domain, pid)
    return TakenOver(domain, found.monitors, not unknown, text,
                     (*found.left, *unknown, *another, *changed), problems)


def _without(words: list[str], ours: Sequence[str]) -> list[str]:
    """The words less the configured arguments, which each start has anyway: where they stand."""
    length = len(ours)
    for index in range(len(words) - length + 1) if length else ():
        if words[index:index + length] == list(ours):
            return [*words[:index], *words[index + length:]]
    return words


def _surroundings(settings: Settings, pid: int, words: list[str]) -> ImportContext:
    home = home_of(words, settings.runtime / "vms")
    directory = Path("/")
    with suppress(OSError):  # another user's process; most have no relative paths
        directory = Path(os.readlink(f"/proc/{pid}/cwd"))
    return ImportContext(directory, f"imported-{pid}", None if home is None else str(home),
                        hugepages.page_of, links.bridge_of, _is_block)


def _is_block(path: str) -> bool:
    try:
        return stat.S_ISBLK(os.stat(path).st_mode)
    except OSError:
        return False


async def _state(found: Recognised) -> tuple[DesiredState, tuple[Unrecognised, ...]]:
    """Ask its last monitor: with -S, libvirt starts every VM, and lets it run afterwards."""
    started = DesiredState.PAUSED if found.paused else DesiredState.RUNNING
    if not found.monitors:
        return started, ()
    monitor = found.monitors[-1]
    try:
        qmp = await Qmp.connect(Path(monitor), lambda _name, _data: None, lambda: None, PATIENCE)
        try:
            answer = await qmp.execute("query-status", PATIENCE)
        finally:
            qmp.close()
        running = bool(answer["running"])
    except (QmpError, OSError, KeyError, TypeError) as error:
        return DesiredState.RUNNING, (Unrecognised(
            f"monitor {monitor}", f"whether it runs or is paused is not known ({error}): "
                                  "state='running' is meant"),)
    return (DesiredState.RUNNING if running else DesiredState.PAUSED), ()


def _emulator(settings: Settings, pid: int, words: list[str],
              host: ReadingHost) -> tuple[str | None, tuple[Unrecognised, ...]]:
    """The program, where it is another than the configured one and may be named."""
    usual, program = binary.find(settings), words[0]
    if usual.simulated and usual.path in words:
        return None, ()
    with suppress(OSError):  # another user's process: the first word has to do
        program = os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")
    if os.path.realpath(usual.path) == program:
        return None, ()
    same = [name for name in host.emulators if os.path.realpath(name) == program]
    if same:
        return same[0], ()
    return None, (Unrecognised(f"program {program}", f"the next start is by {usual.path}; "
                                             "hypervisor.allowed has no such program"),)


def _read_again(settings: Settings, text: str, domain: Domain,
                pid: int) -> tuple[tuple[Problem, ...], tuple[Unrecognised, ...]]:
    """What the reconciler will make of the file: its errors, or all that comes out otherwise."""
    try:
        again = read_domain(text.encode(), f"process {pid}", reading_host(settings))
    except InvalidDomain as error:
        return error.problems, ()
    return (), tuple(Unrecognised(change.path, f"will be {change.new} instead of {change.old}")
                     for change in differences(domain, again))


def changed_by_defaults(settings: Settings, text: str) -> tuple[Change, ...]:
    """What the watched directory would do to the VM by its defaults; raises InvalidDomain."""
    host = reading_host(settings)
    data = literal(text).encode()
    found, = expand(data, "", host, given_in(settings, settings.domains, host)).definitions
    return tuple(
        change for change in differences(read_domain(text.encode(), "", host), found.domain)
        if change.impact is not Impact.NONE or change.path == STATE)
