"""A StratoVirt command line, taken apart: what each part of a domain takes its own options from.

Between the words of /proc/PID/cmdline and stratovirt/recognise.py. Whatever nobody takes, and every
part of an option that nobody reads, is left over and told: nothing is dropped without a word.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.domain.model import Place
from reconciler.domain.rules import ALIAS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

_YES, _NO = ("true", "on", "yes", "unmap"), ("false", "off", "no", "ignore")


@dataclass(frozen=True, slots=True)
class Left:
    """What the domain file does not say: the option, and why."""

    option: str
    reason: str

    def __str__(self) -> str:
        return f"{self.option}: {self.reason}"


@dataclass(frozen=True, slots=True)
class ImportContext:
    """What a command line alone does not tell; tests give their own."""

    directory: Path  # where relative paths start
    name: str = "imported"  # where it has none
    own: str | None = None  # the VM's directory, where the reconciler started it
    page_of: Callable[[str], int | None] = lambda path: None  # bytes of a hugetlbfs's pages
    bridge_of: Callable[[str], str | None] = lambda tap: None
    is_block: Callable[[str], bool] = lambda path: path.startswith("/dev/")


class Option:
    """One option with its value: a leading word, and fields of which each is read or left over."""

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
        """A field's value."""
        self._read.add(name)
        return self._fields.get(name)

    def number(self, name: str) -> int | None:
        """A number; one that is none is told."""
        return self._made(name, lambda found: int(found, 0))

    def truth(self, name: str) -> bool | None:
        """A switch, in any of StratoVirt's spellings."""
        found = self.text(name)
        if found is not None and found not in (*_YES, *_NO):
            self.problems.append(f"{name}={found} is neither on nor off")
        return None if found is None else found in _YES

    def whole(self) -> str:
        """The value as it is: no list."""
        self._fields.clear()
        return self.value

    def skip(self, *names: str) -> None:
        """Fields that say nothing about the domain."""
        self._read.update(names)

    def note(self, problem: str) -> None:
        """What could not be taken over of this option."""
        self.problems.append(problem)

    def rest(self) -> Iterator[str]:
        """All that nobody has read."""
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
            self.problems.append(f"{name}={found} is no number")
            return None


@dataclass(slots=True)
class Options:
    """All options, and which of them were taken; root ports and I/O threads are known by id."""

    around: ImportContext
    every: list[Option] = field(default_factory=list)
    buses: dict[str, int] = field(default_factory=lambda: {"pcie.0": 0})
    iothreads: dict[str, int] = field(default_factory=dict)
    _taken: list[Option] = field(default_factory=list)
    _told: list[Left] = field(default_factory=list)

    @classmethod
    def of(cls, words: Iterable[str], around: ImportContext) -> Options:
        """Each word with a dash begins an option; what follows is its value."""
        found: list[list[str]] = []
        for word in words:
            if word.startswith("-"):
                found.append([word])
            elif found:
                found[-1].append(word)
            else:
                found.append(["", word])
        return cls(around, [Option(flag, " ".join(values)) for flag, *values in found])

    def take(self, flag: str, *kinds: str) -> list[Option]:
        """The options of this flag (and of these kinds), which are now spoken for."""
        found = [option for option in self.every if option.flag == flag and (
            not kinds or option.kind in kinds) and option not in self._taken]
        self._taken += found
        return found

    def tell(self, option: str, reason: str) -> None:
        """Something that is not taken over."""
        self._told.append(Left(option, reason))

    def claim(self, option: Option) -> None:
        """This one is spoken for."""
        self._taken.append(option)

    def one(self, flag: str) -> Option | None:
        """The only option of this flag."""
        return next(iter(self.take(flag)), None)

    def backend(self, option: Option, flag: str, name: str) -> Option | None:
        """The host's half of a device, which names it by id; a missing one is told."""
        return self.named(option, flag, option.text(name))

    def named(self, option: Option, flag: str, wanted: str | None) -> Option | None:
        """The option of this flag and id, for another one, which is told if there is none."""
        for found in self.every:
            if found.flag == flag and found not in self._taken and found.text("id") == wanted:
                self._taken.append(found)
                return found
        option.note(f"there is no {flag} of id '{wanted}'")
        return None

    def alias(self, option: Option, default: str) -> str:
        """A device's id; one that a domain file cannot hold is told."""
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
        """A path, absolute."""
        return os.path.normpath(os.path.join(self.around.directory, text)) if text else None

    def iothread(self, option: Option, name: str = "iothread") -> int | None:
        """The number of the I/O thread that a device names."""
        found = option.text(name)
        if found is not None and found not in self.iothreads:
            option.note(f"there is no I/O thread '{found}'")
        return None if found is None else self.iothreads.get(found)

    def place(self, option: Option) -> Place | None:
        """Where a device sits; none on microvm, whose devices have no bus."""
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
            option.note(f"addr={text} is no place")
            return None

    def left(self) -> tuple[Left, ...]:
        """Everything that nobody took, and of what was taken all that nobody read."""
        found = list(self._told)
        for option in self.every:
            if option not in self._taken:
                found.append(Left(str(option), "it is not taken over"))
                continue
            found += [Left(str(option), problem) for problem in option.problems]
            rest = list(option.rest())
            if rest:
                found.append(Left(str(option), f"{', '.join(rest)}: not taken over"))
        return tuple(found)
