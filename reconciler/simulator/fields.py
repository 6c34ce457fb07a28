"""Parses option lists such as `file=a.img,id=d0`: split at every `,` and `=`, fields checked."""

import os
from collections.abc import Callable, Mapping

from .refusal import Refusal

Check = Callable[[str], object]
Fields = dict[str, "str | int | bool | tuple[int, int]"]

UNEXPECTED = "error: unexpected argument found\n"
INVALID = "error: invalid value for one of the arguments\n"
NOT_POSSIBLE = "error: one of the values isn't valid for an argument\n"
MISSING = "error: one or more required arguments were not provided\n"
TWICE = "error: an argument cannot be used with one or more of the other specified arguments\n"


class NotPossible(Exception):
    """A value that is not among the possible ones."""


def text(value: str) -> str:
    """Any text."""
    return value


def identity(value: str) -> str:
    """An id: up to 255 bytes."""
    if len(value.encode()) > 255:
        raise Refusal("Input id string's length must be no more than 255.")
    return value


def path(value: str) -> str:
    """A path, resolved if it exists."""
    if len(value.encode()) > 4096:
        raise Refusal("Input path string's length must be no more than 4096.")
    return os.path.realpath(value) if value and os.path.exists(value) else value


def switch(value: str) -> bool:
    """A switch, in any spelling."""
    if value in ("true", "on", "yes", "unmap"):
        return True
    if value in ("false", "off", "no", "ignore"):
        return False
    raise Refusal(f"Unknown bool value {value}")


def truth(value: str) -> bool:
    """`true` or `false`."""
    if value not in ("true", "false"):
        raise NotPossible
    return value == "true"


def one_of(*possible: str) -> Check:
    """One of these values."""

    def check(value: str) -> str:
        if value not in possible:
            raise NotPossible
        return value

    return check


def number(low: int = 0, high: int = (1 << 32) - 1, shown: str = "") -> Check:
    """An integer in a range, with StratoVirt's error messages."""

    def check(value: str) -> int:
        if not value.isascii() or not value.isdigit():
            reason = "invalid digit found in string"
            raise Refusal("cannot parse integer from empty string" if not value else reason)
        if not low <= int(value) <= high:
            raise Refusal(f"{value} is not in {shown or f'{low}..={high}'}")
        return int(value)

    return check


def size(value: str) -> int:
    """A size in MiB, or with one of the letters k, m, g."""
    units = {"k": 1 << 10, "K": 1 << 10, "m": 1 << 20, "M": 1 << 20, "g": 1 << 30, "G": 1 << 30}
    unit = units.get(value[-1:])
    digits = value[:-1] if unit else value
    if not digits.isascii() or not digits.isdigit():
        raise Refusal(
            f"Invalid size: {value}",
            f"Unable to parse '{value}' for 'u64'",
            "invalid digit found in string" if digits else "cannot parse integer from empty string",
        )
    return int(digits) * (unit or 1 << 20)


def place(value: str) -> tuple[int, int]:
    """An address on a bus: slot, or slot.function."""
    parts = value.split(".")
    if len(parts) > 2:
        raise Refusal(
            f"The number of args for addr is supported to be no more than two, find :{len(parts)}"
        )
    found = [0, 0]
    for index, (part, name, most) in enumerate(
        zip(parts, ("slot", "function"), (31, 7), strict=False)
    ):
        try:
            found[index] = int(part, 16 if part.startswith("0x") else 10)
        except ValueError:
            raise Refusal(f"Invalid {name} num: {part}", "invalid digit found in string") from None
        if not 0 <= found[index] <= most:
            raise Refusal(f"Invalid {name} num: {found[index]}")
    return found[0], found[1]


def mac(value: str) -> str:
    """A MAC address."""
    parts = value.split(":")
    hexadecimal = "0123456789abcdefABCDEF"
    if len(parts) != 6 or any(len(p) != 2 or p.strip(hexadecimal) for p in parts):
        raise Refusal("Mac address is illegal.")
    return value


def parse(
    given: str,
    known: Mapping[str, Check],
    required: str = "",
    flags: str = "",
    first: str = "",
) -> Fields:
    """Read an option list.

    `known`: the fields and their checks; `required`: mandatory fields; `flags`: fields without a
    value; `first`: the field whose value is a first item without `=`.
    """
    tokens: list[tuple[bool, str]] = []
    for index, part in enumerate(given.split(",")):
        pieces = part.split("=")
        if first and index == 0:
            pieces.insert(0, first)
        tokens += [(position % 2 == 0, piece) for position, piece in enumerate(pieces)]
    found: Fields = {}
    position = 0
    while position < len(tokens):
        is_name, name = tokens[position]
        position += 1
        if is_name and name in flags.split():
            if name in found:
                raise Refusal(TWICE)
            found[name] = True
            continue
        if not is_name or name not in known:
            raise Refusal(UNEXPECTED)
        if position == len(tokens) or tokens[position][0]:
            raise Refusal(NOT_POSSIBLE)
        value = tokens[position][1]
        position += 1
        if value.startswith("-") and len(value) > 1:
            raise Refusal(UNEXPECTED)
        if name in found and known[name] is not switch:
            raise Refusal(TWICE)
        try:
            found[name] = known[name](value)  # type: ignore[assignment]  # the table says which type
        except NotPossible:
            raise Refusal(NOT_POSSIBLE) from None
        except Refusal as refusal:
            raise refusal.within(INVALID) from None
    if any(name not in found for name in required.split()):
        raise Refusal(MISSING)
    return found


def lookup(name: str, given: str) -> str:
    """One field of an option list that is not parsed completely."""
    for part in given.split(","):
        pieces = part.split("=")
        if len(pieces) == 2 and pieces[0] == name:
            if not pieces[1]:
                raise Refusal(f"Find empty arg {name} in string {given}.")
            return pieces[1]
    raise Refusal(f"Cannot find {name}'s value from string {given}")
