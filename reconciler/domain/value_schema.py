r"""What a schema can say of a value: the other half of the types in rules.py.

A type's `parse` decides when a file is read; its forms tell editors the same in advance. Patterns
are of the part that `re` and XML Schema share: no anchors, no \s, no \d.
"""

from __future__ import annotations

from dataclasses import dataclass

LONGEST = 8  # digits of an address
DECIMAL, HEXADECIMAL = "0123456789", "0123456789abcdef"
_BREAKS = r"\t\n\r"  # of what is not printed, XML lets these and DEL into a file
_SPACE = f" {_BREAKS}"
_DELETE = "\x7f"


@dataclass(frozen=True, slots=True)
class Form:
    """A datatype of XML Schema's, a pattern, and for numbers the least and the most."""

    pattern: str
    datatype: str = "string"
    low: int | None = None
    high: int | None = None


# What a message may hold. It ends in what is not space, since it is trimmed: a pattern that could
# take the same space twice is tried in every way, which takes minutes.
FREE = Form(rf"[^{_SPACE}{_DELETE}]([^\r{_DELETE}]*[^{_SPACE}{_DELETE}])?")
NOTHING = Form("")
DURATION = Form("[0-9]{1,9}(ms|s|m|h|d)")
UNIT = Form("[kKmMgGtTpPeE]([iI]?[bB])?|[bB]([yY][tT][eE][sS]?)?")


def without(letters: str, first: str) -> Form:
    """Printable text without these letters, which does not begin with one of `first`, either."""
    return Form(f"[^{first}{letters}{_SPACE}{_DELETE}]([^{letters}{_BREAKS}{_DELETE}]*"
                f"[^{letters}{_SPACE}{_DELETE}])?")


def address(high: int) -> tuple[Form, ...]:
    """Numbers as libvirt writes them in addresses: hexadecimal with or without 0x, or decimal."""
    return (Form(f"(0[xX])?({_up_to(f'{high:x}', HEXADECIMAL)})"),
            Form(_up_to(str(high), DECIMAL)))


def _up_to(highest: str, digits: str) -> str:
    """The pattern of all numbers of up to eight digits that are not over the highest.

    Nothing is counted, as in 0{0,6}: libxml2 miscounts where what follows may begin with a 0, too.
    """
    any_ = _class(digits)
    shorter = any_ + f"{any_}?" * (len(highest) - 2) + "|" if len(highest) > 1 else ""
    return f"{shorter}{'0?' * (LONGEST - len(highest))}({_as_long(highest, digits)})"


def _as_long(highest: str, digits: str) -> str:
    """The pattern of all numbers of as many digits that are not over the highest."""
    if highest == digits[-1] * len(highest):
        return _class(digits) * len(highest)
    first, rest = digits.index(highest[0]), highest[1:]
    if not rest:
        return _class(digits[:first + 1])
    same = f"{_class(digits[first])}({_as_long(rest, digits)})"
    return f"{_class(digits[:first])}{_class(digits) * len(rest)}|{same}" if first else same


def _class(digits: str) -> str:
    """One of these digits, in either case."""
    numbers = [digit for digit in digits if digit.isdecimal()]
    letters = [digit for digit in digits if digit.isalpha()]
    spans = [(found[0], found[-1]) for found in (numbers, letters) if found]
    spans += [(low.upper(), high.upper()) for low, high in spans if low.isalpha()]
    return f"[{''.join(low if low == high else f'{low}-{high}' for low, high in spans)}]"
