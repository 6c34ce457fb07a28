"""The rows of the tables: what an element may contain, of which type, and the verdict on it.

A table is pure data. The reader, its errors, the reference page and the schema for editors are all
made from the same tables, so they agree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from reconciler.domain import value_schema
from reconciler.domain.value_schema import ValueSchema
from reconciler.units import nearest, seconds, unit_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LONGEST_PATH = 4095  # bytes; the kernel's PATH_MAX less the final 0
_NUMBER = re.compile(r"[0-9]{1,20}")
_HEX = re.compile(rf"(0[xX])?[0-9a-fA-F]{{1,{value_schema.LONGEST}}}")


class RowVerdict(Enum):
    """What the reader does with an element or attribute.

    ACCEPT: it reads the value, which has an effect here. IGNORE: allowed without a message; it does
    not change the guest, or libvirt adds it by itself. WARN: ignored, with a warning that says why;
    the guest works without it. REJECT: an error that says what to do instead, because the guest
    would miss it or the user relies on it. NOT_YET: an error, because it is not implemented yet.
    """

    ACCEPT = "accept"
    IGNORE = "ignore"
    WARN = "warn"
    REJECT = "reject"
    NOT_YET = "not yet"


@dataclass(frozen=True, slots=True)
class Type:
    """A type of value: its name in messages, and the function that parses a text.

    `parse` raises ValueError. The editor schema accepts `words`, and texts that match any of
    `schemas`; a test holds `parse` to the same, unless `exact` is False, because the schemas cannot
    express everything that `parse` checks, such as a length in bytes.
    """

    name: str
    parse: Callable[[str], object]
    words: tuple[str, ...] = ()
    schemas: tuple[ValueSchema, ...] = ()
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Attribute:
    """The row of an attribute. `because`: the reason of a warning or an error."""

    name: str
    type: Type
    verdict: RowVerdict = RowVerdict.ACCEPT
    because: str = ""


@dataclass(frozen=True, slots=True)
class Element:
    """The row of an element, with the rows of its attributes and children.

    `many`: it may be repeated. `empty`: its text may be missing. `because`: as in Attribute.
    """

    name: str
    attributes: tuple[Attribute, ...] = ()
    children: tuple[Element, ...] = ()
    text: Type | None = None
    many: bool = False
    verdict: RowVerdict = RowVerdict.ACCEPT
    because: str = ""
    empty: bool = False
    by_name: dict[str, Element] = field(default_factory=dict, compare=False, repr=False)
    by_attribute: dict[str, Attribute] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        self.by_name.update({child.name: child for child in self.children})
        self.by_attribute.update({a.name: a for a in self.attributes})


def element(name: str, *entries: Attribute | Element, text: Type | None = None,
            many: bool = False, empty: bool = False) -> Element:
    """The row of an element that is read."""
    return Element(name, tuple(e for e in entries if isinstance(e, Attribute)),
                   tuple(e for e in entries if isinstance(e, Element)), text, many, empty=empty)


# In the three functions below a name that begins with @ is an attribute's, any other an element's.


def ignore(*names: str) -> tuple[Attribute | Element, ...]:
    """Rows that are allowed and have no effect."""
    return tuple(_row(name, RowVerdict.IGNORE, "") for name in names)


def warn(name: str, because: str) -> Attribute | Element:
    """A row that is ignored with a warning."""
    return _row(name, RowVerdict.WARN, because)


def reject(name: str, because: str) -> Attribute | Element:
    """A row that is an error; `because` also says what to do instead."""
    return _row(name, RowVerdict.REJECT, because)


def _row(name: str, verdict: RowVerdict, because: str) -> Attribute | Element:
    if name.startswith("@"):
        return Attribute(name[1:], ANY, verdict, because)
    return Element(name, many=True, verdict=verdict, because=because)


# Types


def choice(*accepted: str) -> Type:
    """One of these words."""
    name = ", ".join(accepted)

    def parse(text: str) -> str:
        if text not in accepted:
            raise ValueError(f"found '{text}'{nearest(text[:40], accepted)}; accepted: {name}")
        return text

    return Type(name, parse, words=tuple(str(word) for word in accepted))


def number(low: int, high: int) -> Type:
    """A decimal number within a range."""
    name = f"a number from {low} to {high:,}".replace(",", " ") if high > 9999 else (
        f"a number from {low} to {high}")

    def parse(text: str) -> int:
        if not _NUMBER.fullmatch(text) or not low <= int(text) <= high:
            raise ValueError(f"found '{text}'; accepted: {name}")
        return int(text)

    return Type(name, parse, schemas=(ValueSchema(_NUMBER.pattern, "integer", low, high),))


def hexadecimal(high: int) -> Type:
    """A number as libvirt writes addresses: 0x1f, or decimal without 0x."""
    name = f"0x0 to {high:#x}"

    def parse(text: str) -> int:
        if not _HEX.fullmatch(text):
            raise ValueError(f"found '{text}'; accepted: {name}")
        value = int(text, 16) if text[:2].lower() == "0x" or not text.isdecimal() else int(text)
        if value > high:
            raise ValueError(f"found '{text}'; accepted: {name}")
        return value

    return Type(name, parse, schemas=value_schema.address(high))


def matching(pattern: str, name: str) -> Type:
    """Text of a pattern."""
    compiled = re.compile(pattern)

    def parse(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError(f"found '{text}'; accepted: {name}")
        return text

    return Type(name, parse, schemas=(ValueSchema(pattern),))


def flag(yes: str, no: str) -> Type:
    """One of two words, as a bool."""
    words = {yes: True, no: False}

    def parse(text: str) -> bool:
        if text not in words:
            raise ValueError(f"found '{text}'; accepted: {yes}, {no}")
        return words[text]

    return Type(f"{yes}, {no}", parse, words=(yes, no))


def _passed(text: str) -> str:
    """Text that becomes an argument of its own."""
    if not text:
        raise ValueError("found an empty value; accepted: a value")
    if _CONTROL.search(text):
        raise ValueError(f"found {text!r}; accepted: no control characters")
    if text.startswith("-"):
        raise ValueError(f"found '{text}'; accepted: no leading '-' (StratoVirt would parse it "
                         "as an option)")
    return text


def _option(text: str) -> str:
    """Text within an option list, which StratoVirt splits at every , and =."""
    if "," in text or "=" in text:
        raise ValueError(f"found '{text}'; accepted: no ',' and no '=' (StratoVirt cannot escape "
                         "them)")
    return _passed(text)


def _path(text: str) -> str:
    """A path within an option list."""
    if len(text.encode()) > _LONGEST_PATH:
        raise ValueError(f"found {len(text.encode())} bytes; accepted: up to {_LONGEST_PATH}")
    return _option(text)


def _free(text: str) -> str:
    """Free text."""
    if _CONTROL.search(text.replace("\n", "").replace("\t", "")):
        raise ValueError("found control characters; accepted: text without them")
    return text


def _duration(text: str) -> float:
    return seconds(text)


def _unit(text: str) -> int:
    return unit_bytes(text)


_NO_OPTION = (value_schema.without(",=", first=r"\-"),)
ANY = Type("anything", _free, schemas=(value_schema.FREE, value_schema.NOTHING))
TEXT = Type("text", _free, schemas=(value_schema.FREE, value_schema.NOTHING))
PASSED = Type("text without a leading '-'", _passed,
              schemas=(value_schema.without("", first=r"\-"),))
OPTION = Type("text without ',' and '='", _option, schemas=_NO_OPTION)
PATH = Type("a path without ',' and '='", _path, schemas=_NO_OPTION, exact=False)
DURATION = Type("500ms, 10s, 5m, 1h, 2d", _duration, schemas=(value_schema.DURATION,))
UNIT = Type("b, KiB, MiB, GiB, …", _unit, schemas=(value_schema.UNIT,))
YES_NO = flag("yes", "no")
ON_OFF = flag("on", "off")
ALIAS = matching(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", "letters, digits, _ . -, up to 64")
BRIDGE_OR_TAP = matching(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}",
                         "letters, digits, _ . -, up to 15 (the name of a network interface)")
