"""`history` and `rollback`: list the definitions that were applied, and restore one of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from reconciler.cli.terminal import exact, table
from reconciler.cli.verb import OK, Verb, with_name
from reconciler.errors import UsageError
from reconciler.units import nearest, show_revision

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from reconciler.domain.model import Domain
    from reconciler.engine.decide.definition_history import Entry
    from reconciler.engine.decide.state import DomainRecord
    from reconciler.settings import Settings


def _history(options: Namespace, settings: Settings) -> int:
    memory, entries = _load(settings, options.name)
    if options.show is not None:
        exact(_text(settings, memory, _chosen(entries, options.show, memory.name)))
    elif options.output == "json":
        print(json.dumps([entry.value for entry in entries], indent=1))
    else:
        rows = [[str(e.number), e.result, str(e.count), _when(e.first), _when(e.last),
                 show_revision(e.revision), e.file] for e in reversed(entries)]
        print(table(["N", "RESULT", "TIMES", "FIRST APPLIED", "LAST APPLIED", "REVISION", "FILE"],
                    rows) if rows else "no definition was applied yet")
    return OK


def _when(moment: str) -> str:
    """A time for a table, without milliseconds."""
    return f"{moment[:10]} {moment[11:19]}Z" if moment else "-"


def _rollback(options: Namespace, settings: Settings) -> int:
    from reconciler.cli.files import outcome, put, refuse_read_only

    memory, entries = _load(settings, options.name)
    entry = _chosen(entries, options.to, memory.name)
    refuse_read_only(settings, f"`reconciler history {memory.name} --show {entry.number}` prints "
                               f"that definition: commit it as {entry.file} there")
    way = _WayBack(settings, memory)
    if options.to is None:
        entry = _chosen(way.others(entries), None, memory.name)
    owner = way.watched.owners().get(memory.uuid)
    if owner is not None:
        owner.one(memory.uuid, f"edit it; `reconciler history {memory.name} --show {entry.number}` "
                               "prints that definition")
    data = way.text_of(entry)
    file = memory.definition.file if memory.definition is not None else ""
    target = settings.domains / (file or entry.file)
    if memory.definition is not None and memory.definition.data == data:
        raise UsageError(f"'{memory.name}' is at definition {entry.number} already",
                         hint=f"`reconciler history {memory.name}` lists the others")
    put(target, data)
    print(f"{memory.name}: definition {entry.number} of {_when(entry.first)} restored in {target}")
    for line in way.changes(data):
        print(f"  {line}")
    return outcome(options, settings, memory.name)


def _load(settings: Settings, name: str) -> tuple[DomainRecord, list[Entry]]:
    from reconciler.engine.decide.definition_history import Entry
    from reconciler.engine.records.store import Store
    from reconciler.stratovirt.record import boot_id

    memories = Store(settings.state / "domains").all(boot_id())
    for memory in memories:
        if name in (memory.name, memory.uuid):
            return memory, [Entry.of(value) for value in memory.history]
    raise UsageError(f"no domain '{name}'{nearest(name, [m.name for m in memories])}",
                     reason="NotFound", hint="`reconciler status` lists the domains")


def _chosen(entries: list[Entry], number: int | None, name: str) -> Entry:
    """The definition of this number; by default the last healthy one before the newest."""
    if number is None:
        earlier = [e for e in entries[:-1] if e.result in ("InSync", "ChangesDeferred")]
        if not earlier:
            raise UsageError(f"'{name}' has no earlier definition that was healthy",
                             hint=f"`reconciler history {name}` lists its definitions")
        return earlier[-1]
    found = next((entry for entry in entries if entry.number == number), None)
    if found is None:
        there = ", ".join(str(entry.number) for entry in entries) or "none"
        raise UsageError(f"'{name}' has no definition {number} (available: {there})")
    return found


class _WayBack:
    """Earlier definitions of a domain, with the state that it is in now.

    A change of the state alone is no earlier definition: what `stop` did, `start` undoes.
    """

    def __init__(self, settings: Settings, memory: DomainRecord) -> None:
        from reconciler.cli.files import Watched

        self.watched = Watched(settings)
        self._settings = settings
        self._memory = memory
        self._now = self._read(memory.definition.data) if memory.definition is not None else None

    def others(self, entries: list[Entry]) -> list[Entry]:
        """Those that mean something else than the newest one, and the newest one itself."""
        return [*(entry for entry in entries[:-1] if self._now is None or (
            self._read(self.text_of(entry)) != self._now)), *entries[-1:]]

    def text_of(self, entry: Entry) -> bytes:
        """Its text, with the state of now."""
        from reconciler.cli.files import edited

        data = _text(self._settings, self._memory, entry)
        then = self._read(data)
        if self._now is None or then is None or then.policy.state is self._now.policy.state:
            return data
        return edited(data.decode(), self._now.policy.state).encode()

    def changes(self, data: bytes) -> list[str]:
        """What the text changes, one line each."""
        from reconciler.domain.difference import differences

        then = self._read(data)
        if self._now is None or then is None:
            return []
        return [f"{change.path}: {change.old} → {change.new}"
                for change in differences(self._now, then)]

    def _read(self, data: bytes) -> Domain | None:
        """The domain of a text; None if it is several, or none that today's code can read."""
        from reconciler.domain.model import InvalidDomain

        file = self._memory.definition.file if self._memory.definition is not None else ""
        try:
            found = self.watched.read(data, file)
        except InvalidDomain:
            return None
        return found[0] if len(found) == 1 else None


def _text(settings: Settings, memory: DomainRecord, entry: Entry) -> bytes:
    from reconciler.engine.records.archive import Archive

    data = Archive(settings.state).read(memory.uuid, entry)
    if data is None:
        raise UsageError(f"definition {entry.number} of '{memory.name}' is no longer kept")
    return data


def _history_arguments(parser: ArgumentParser) -> None:
    with_name(parser)
    parser.add_argument("--show", type=int, metavar="N", help="print this definition")
    parser.add_argument("-o", "--output", default="table", choices=("table", "json"),
                        help="output format (default: %(default)s)")


def _rollback_arguments(parser: ArgumentParser) -> None:
    from reconciler.cli.files import waiting

    with_name(parser)
    parser.add_argument("--to", type=int, metavar="N",
                        help="a number from `history` (default: the last healthy one before "
                             "the newest)")
    waiting(parser)


VERBS = (
    Verb("history", "list the definitions that were applied to a domain", _history,
         _history_arguments,
         "  reconciler history web1\n  reconciler history web1 --show 3\n"),
    Verb("rollback", "restore an earlier definition of a domain in its file", _rollback,
         _rollback_arguments, "  reconciler rollback web1\n  reconciler rollback web1 --to 3\n"),
)
