"""The language of the tables: what an element may hold, of which type, and what is made of it.

A table is pure data. The reader, its errors, the reference page and the editors' schema all come
from the same tables, so they cannot disagree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from reconciler.domain import value_schema
from reconciler.domain.value_schema import Form
from reconciler.units import nearest, seconds, unit_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LONGEST_PATH = 4095  # bytes; the kernel's PATH_MAX with its end
_NUMBER = re.compile(r"[0-9]{1,20}")
_HEX = re.compile(rf"(0[xX])?[0-9a-fA-F]{{1,{value_schema.LONGEST}}}")


class RowVerdict(Enum):
    """What is made of an element or attribute."""

    READ = "read"
    SILENT = "silent"  # accepted; it changes nothing, or libvirt adds it by itself
    WARNED = "warned"  # ignored, with one warning: a guest can do without it
    REFUSED = "refused"  # the guest would miss it, or the operator counts on it
    LATER = "later"  # not built yet: refused with its line, never dropped


@dataclass(frozen=True, slots=True)
class Type:
    """A kind of value: its name for people, and what makes it of a text (or raises ValueError).

    The schema accepts the words, and texts of any of the forms; a test holds `parse` to the same,
    unless it is said here that the forms cannot tell all, such as a length in bytes.
    """

    name: str
    parse: Callable[[str], object]
    words: tuple[str, ...] = ()
    forms: tuple[Form, ...] = ()
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute's row."""

    name: str
    type: Type
    verdict: RowVerdict = RowVerdict.READ
    message: str = ""


@dataclass(frozen=True, slots=True)
class Element:
    """An element's row, with those of all that it may hold."""

    name: str
    attributes: tuple[Attribute, ...] = ()
    children: tuple[Element, ...] = ()
    text: Type | None = None
    many: bool = False
    verdict: RowVerdict = RowVerdict.READ
    message: str = ""
    empty: bool = False  # its text may be missing
    by_name: dict[str, Element] = field(default_factory=dict, compare=False, repr=False)
    by_attribute: dict[str, Attribute] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        self.by_name.update({child.name: child for child in self.children})
        self.by_attribute.update({a.name: a for a in self.attributes})


def element(name: str, *entries: Attribute | Element, text: Type | None = None,
            many: bool = False, empty: bool = False) -> Element:
    """A row that is read."""
    return Element(name, tuple(e for e in entries if isinstance(e, Attribute)),
                   tuple(e for e in entries if isinstance(e, Element)), text, many, empty=empty)


def silent(*names: str) -> tuple[Element, ...]:
    """Elements that change nothing."""
    return tuple(Element(name, many=True, verdict=RowVerdict.SILENT) for name in names)


def warned(name: str, message: str) -> Element:
    """An element that is ignored with a warning."""
    return Element(name, many=True, verdict=RowVerdict.WARNED, message=message)


def refused(name: str, message: str) -> Element:
    """An element that is an error, and what to do instead."""
    return Element(name, many=True, verdict=RowVerdict.REFUSED, message=message)


def later(name: str) -> Element:
    """An element that a later version reads."""
    return Element(name, many=True, verdict=RowVerdict.LATER)


def quiet(*names: str) -> tuple[Attribute, ...]:
    """Attributes that change nothing."""
    return tuple(Attribute(name, ANY, RowVerdict.SILENT) for name in names)


def dropped(name: str, message: str) -> Attribute:
    """An attribute that is ignored with a warning."""
    return Attribute(name, ANY, RowVerdict.WARNED, message)


def denied(name: str, message: str) -> Attribute:
    """An attribute that is an error."""
    return Attribute(name, ANY, RowVerdict.REFUSED, message)


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

    return Type(name, parse, forms=(Form(_NUMBER.pattern, "integer", low, high),))


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

    return Type(name, parse, forms=value_schema.address(high))


def matching(pattern: str, name: str) -> Type:
    """Text of a pattern."""
    compiled = re.compile(pattern)

    def parse(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError(f"found '{text}'; accepted: {name}")
        return text

    return Type(name, parse, forms=(Form(pattern),))


def flag(yes: str, no: str) -> Type:
    """One of two words, as a truth."""
    words = {yes: True, no: False}

    def parse(text: str) -> bool:
        if text not in words:
            raise ValueError(f"found '{text}'; accepted: {yes}, {no}")
        return words[text]

    return Type(f"{yes}, {no}", parse, words=(yes, no))


def _passed(text: str) -> str:
    """Text that becomes a whole argument of StratoVirt's."""
    if not text:
        raise ValueError("found nothing; accepted: a value")
    if _CONTROL.search(text):
        raise ValueError(f"found {text!r}; accepted: no control characters")
    if text.startswith("-"):
        raise ValueError(f"found '{text}'; accepted: no leading '-' (StratoVirt would take it for "
                         "an option)")
    return text


def _option(text: str) -> str:
    """Text that will stand inside an option list, which StratoVirt splits at each , and =."""
    if "," in text or "=" in text:
        raise ValueError(f"found '{text}'; accepted: no ',' and no '=' (StratoVirt has no escape "
                         "for them)")
    return _passed(text)


def _path(text: str) -> str:
    """Text that names a file, in an option list."""
    if len(text.encode()) > _LONGEST_PATH:
        raise ValueError(f"found {len(text.encode())} bytes; accepted: up to {_LONGEST_PATH}")
    return _option(text)


def _free(text: str) -> str:
    """Text for people."""
    if _CONTROL.search(text.replace("\n", "").replace("\t", "")):
        raise ValueError("control characters; accepted: text")
    return text


def _duration(text: str) -> float:
    return seconds(text)


def _unit(text: str) -> int:
    return unit_bytes(text)


_NO_OPTION = (value_schema.without(",=", first=r"\-"),)
ANY = Type("anything", _free, forms=(value_schema.FREE, value_schema.NOTHING))
TEXT = Type("text", _free, forms=(value_schema.FREE, value_schema.NOTHING))
PASSED = Type("text without a leading '-'", _passed, forms=(value_schema.without("", first=r"\-"),))
OPTION = Type("text without ',' and '='", _option, forms=_NO_OPTION)
PATH = Type("a path without ',' and '='", _path, forms=_NO_OPTION, exact=False)
DURATION = Type("500ms, 10s, 5m, 1h, 2d", _duration, forms=(value_schema.DURATION,))
UNIT = Type("b, KiB, MiB, GiB, …", _unit, forms=(value_schema.UNIT,))
YES_NO = flag("yes", "no")
ON_OFF = flag("on", "off")
ALIAS = matching(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", "letters, digits, _ . -, up to 64")
BRIDGE_OR_TAP = matching(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}",
                         "letters, digits, _ . -, up to 15 (a name of a network interface)")
