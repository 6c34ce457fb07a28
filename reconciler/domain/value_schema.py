r"""The values that the schema for editors accepts: the other half of the types in rules.py.

When a file is read, a type's `parse` decides; its value schemas express the same for editors.
Patterns use what `re` and XML Schema have in common: no anchors, no \s, no \d.
"""

from __future__ import annotations

from dataclasses import dataclass

LONGEST = 8  # digits of an address
DECIMAL, HEXADECIMAL = "0123456789", "0123456789abcdef"
_BREAKS = r"\t\n\r"  # the control characters that XML allows, besides DEL
_SPACE = f" {_BREAKS}"
_DELETE = "\x7f"


@dataclass(frozen=True, slots=True)
class ValueSchema:
    """An XML Schema datatype with a pattern and, for numbers, the range."""

    pattern: str
    datatype: str = "string"
    low: int | None = None
    high: int | None = None


# Free text. It does not end in a space, since values are trimmed: with a pattern that can match the
# same space in two ways, backtracking takes minutes.
FREE = ValueSchema(rf"[^{_SPACE}{_DELETE}]([^\r{_DELETE}]*[^{_SPACE}{_DELETE}])?")
NOTHING = ValueSchema("")
DURATION = ValueSchema("[0-9]{1,9}(ms|s|m|h|d)")
UNIT = ValueSchema("[kKmMgGtTpPeE]([iI]?[bB])?|[bB]([yY][tT][eE][sS]?)?")


def without(letters: str, first: str) -> ValueSchema:
    """Printable text without these letters that does not begin with one of `first` either."""
    return ValueSchema(f"[^{first}{letters}{_SPACE}{_DELETE}]([^{letters}{_BREAKS}{_DELETE}]*"
                       f"[^{letters}{_SPACE}{_DELETE}])?")


def address(high: int) -> tuple[ValueSchema, ...]:
    """Numbers as libvirt writes them in addresses: hexadecimal, with or without 0x, or decimal."""
    return (ValueSchema(f"(0[xX])?({_up_to(f'{high:x}', HEXADECIMAL)})"),
            ValueSchema(_up_to(str(high), DECIMAL)))


def _up_to(highest: str, digits: str) -> str:
    """The pattern of all numbers of up to eight digits up to the highest.

    Without counts such as 0{0,6}: libxml2 miscounts if the rest may begin with a 0, too.
    """
    any_ = _class(digits)
    shorter = any_ + f"{any_}?" * (len(highest) - 2) + "|" if len(highest) > 1 else ""
    return f"{shorter}{'0?' * (LONGEST - len(highest))}({_as_long(highest, digits)})"


def _as_long(highest: str, digits: str) -> str:
    """The pattern of all numbers with as many digits as the highest, up to it."""
    if highest == digits[-1] * len(highest):
        return _class(digits) * len(highest)
    first, rest = digits.index(highest[0]), highest[1:]
    if not rest:
        return _class(digits[:first + 1])
    same = f"{_class(digits[first])}({_as_long(rest, digits)})"
    return f"{_class(digits[:first])}{_class(digits) * len(rest)}|{same}" if first else same


def _class(digits: str) -> str:
    """The character class of these digits, in either case."""
    numbers = [digit for digit in digits if digit.isdecimal()]
    letters = [digit for digit in digits if digit.isalpha()]
    spans = [(found[0], found[-1]) for found in (numbers, letters) if found]
    spans += [(low.upper(), high.upper()) for low, high in spans if low.isalpha()]
    return f"[{''.join(low if low == high else f'{low}-{high}' for low, high in spans)}]"
