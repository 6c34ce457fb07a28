"""A StratoVirt command line, split into options for the code that recognises a domain in it.

Between the arguments in /proc/PID/cmdline and stratovirt/recognise.py. Options that nothing takes,
and fields of options that nothing reads, are reported as unrecognised: none is dropped silently.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.domain.place import Place
from reconciler.domain.rules import ALIAS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

_YES, _NO = ("true", "on", "yes", "unmap"), ("false", "off", "no", "ignore")


@dataclass(frozen=True, slots=True)
class Unrecognised:
    """Something of a command line that the domain file cannot express, and why."""

    option: str
    reason: str

    def __str__(self) -> str:
        return f"{self.option}: {self.reason}"


@dataclass(frozen=True, slots=True)
class ImportContext:
    """Facts about a VM that its command line does not contain."""

    directory: Path  # base of relative paths
    name: str = "imported"  # for a VM without a name
    own: str | None = None  # the VM's directory, if the reconciler started it
    page_of: Callable[[str], int | None] = lambda path: None  # page size of a hugetlbfs in bytes
    bridge_of: Callable[[str], str | None] = lambda tap: None
    is_block: Callable[[str], bool] = lambda path: path.startswith("/dev/")


class Option:
    """One option: its flag, the leading word of its value, and fields that are read or reported."""

    __slots__ = ("_fields", "_read", "flag", "kind", "problems", "value")

    def __init__(self, flag: str, value: str) -> None:
        self.flag = flag
        self.value = value
        first, *rest = value.split(",")
        self.kind = "" if "=" in first else first
        pieces = [piece.partition("=") for piece in (rest if self.kind else value.split(","))]
        self._fields = {name: found for name, _, found in pieces if name}
        self._read: set[str] = set()
        self.problems: list[str] = []

    def __str__(self) -> str:
        return f"{self.flag} {self.value}".strip()

    def text(self, name: str) -> str | None:
        """The value of a field, or None."""
        self._read.add(name)
        return self._fields.get(name)

    def number(self, name: str) -> int | None:
        """A number; another value is reported."""
        return self._made(name, lambda found: int(found, 0))

    def truth(self, name: str) -> bool | None:
        """A bool, in any of StratoVirt's spellings; another value is reported."""
        found = self.text(name)
        if found is not None and found not in (*_YES, *_NO):
            self.problems.append(f"{name}={found} is neither on nor off")
        return None if found is None else found in _YES

    def whole(self) -> str:
        """The whole value, which is not a list of fields."""
        self._fields.clear()
        return self.value

    def skip(self, *names: str) -> None:
        """Mark fields as read that have no meaning for the domain."""
        self._read.update(names)

    def note(self, problem: str) -> None:
        """Report a part of this option that the domain file cannot express."""
        self.problems.append(problem)

    def rest(self) -> Iterator[str]:
        """The fields that have not been read."""
        for name, value in self._fields.items():
            if name not in self._read:
                yield f"{name}={value}" if value else name

    def _made(self, name: str, make: Callable[[str], int]) -> int | None:
        found = self.text(name)
        if found is None:
            return None
        try:
            return make(found)
        except ValueError:
            self.problems.append(f"{name}={found} is not a number")
            return None


@dataclass(slots=True)
class Options:
    """All options, and which of them are taken; `buses` and `iothreads` by id."""

    context: ImportContext
    every: list[Option] = field(default_factory=list)
    buses: dict[str, int] = field(default_factory=lambda: {"pcie.0": 0})
    iothreads: dict[str, int] = field(default_factory=dict)
    _taken: list[Option] = field(default_factory=list)
    _unrecognised: list[Unrecognised] = field(default_factory=list)

    @classmethod
    def of(cls, arguments: Iterable[str], context: ImportContext) -> Options:
        """Each argument with a leading dash begins an option; those that follow are its value."""
        found: list[list[str]] = []
        for argument in arguments:
            if argument.startswith("-"):
                found.append([argument])
            elif found:
                found[-1].append(argument)
            else:
                found.append(["", argument])
        return cls(context, [Option(flag, " ".join(values)) for flag, *values in found])

    def take(self, flag: str, *kinds: str) -> list[Option]:
        """Take the options of this flag (and of these kinds) that are not taken yet."""
        found = [option for option in self.every if option.flag == flag and (
            not kinds or option.kind in kinds) and option not in self._taken]
        self._taken += found
        return found

    def add_unrecognised(self, option: str, reason: str) -> None:
        """Report something that the domain file cannot express."""
        self._unrecognised.append(Unrecognised(option, reason))

    def take_one(self, option: Option) -> None:
        """Take this option."""
        self._taken.append(option)

    def one(self, flag: str) -> Option | None:
        """Take the option of this flag, if there is one."""
        return next(iter(self.take(flag)), None)

    def backend(self, option: Option, flag: str, name: str) -> Option | None:
        """Take the backend that a device names by id; a missing one is reported."""
        return self.named(option, flag, option.text(name))

    def named(self, option: Option, flag: str, wanted: str | None) -> Option | None:
        """Take the option of this flag and id for another option; a missing one is reported."""
        for found in self.every:
            if found.flag == flag and found not in self._taken and found.text("id") == wanted:
                self._taken.append(found)
                return found
        option.note(f"there is no {flag} of id '{wanted}'")
        return None

    def alias(self, option: Option, default: str) -> str:
        """The id of a device; one that is not valid as an alias is reported."""
        found = option.text("id")
        if found is None:
            return default
        try:
            ALIAS.parse(found)
        except ValueError as error:
            option.note(f"id: {error}")
            return default
        return found

    def path(self, text: str | None) -> str | None:
        """A path as an absolute one."""
        return os.path.normpath(os.path.join(self.context.directory, text)) if text else None

    def iothread(self, option: Option, name: str = "iothread") -> int | None:
        """The number of the I/O thread that a device names."""
        found = option.text(name)
        if found is not None and found not in self.iothreads:
            option.note(f"there is no I/O thread '{found}'")
        return None if found is None else self.iothreads.get(found)

    def place(self, option: Option) -> Place | None:
        """The PCI address of a device; None on microvm, whose devices have no bus."""
        bus, text = option.text("bus"), option.text("addr")
        more = option.truth("multifunction") or False
        if bus is None and text is None:
            return None
        index = self.buses.get(bus or "")
        if index is None:
            option.note(f"there is no bus '{bus}'")
            return None
        try:
            slot, _, function = (text or "").partition(".")
            return Place(index, int(slot, 0), int(function or "0", 0), more)
        except ValueError:
            option.note(f"addr={text} is not a PCI address")
            return None

    def unrecognised(self) -> tuple[Unrecognised, ...]:
        """Options that were not taken, and unread fields of those that were."""
        found = list(self._unrecognised)
        for option in self.every:
            if option not in self._taken:
                found.append(Unrecognised(str(option), "not supported"))
                continue
            found += [Unrecognised(str(option), problem) for problem in option.problems]
            rest = list(option.rest())
            if rest:
                found.append(Unrecognised(str(option), f"{', '.join(rest)}: not supported"))
        return tuple(found)
