"""Readers: each turns a YAML value into a checked one, and has the JSON Schema of what it takes.

Text is matched against the very pattern that stands in the schema (Form), so that an editor marks
what the reconciler refuses, and nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from string import ascii_letters
from typing import TYPE_CHECKING, Any

from reconciler.units import nearest, seconds, unit_bytes

if TYPE_CHECKING:
    from collections.abc import Callable


def key(read: Reader, default: object) -> Any:  # Any: a field of any type
    """A key of a section, with its reader and its default."""
    return field(default=default, metadata={"read": read})


def section(kind: type) -> Any:  # Any: as above
    """A section in a section."""
    return field(default_factory=kind, metadata={"section": kind})


@dataclass(frozen=True, slots=True)
class Reader:
    """Turns a YAML value into a checked one, or raises ValueError."""

    read: Callable[[object], Any]
    schema: dict[str, object]
    free_keys: bool = False  # a mapping whose keys are the user's own names

    def __call__(self, value: object) -> Any:
        """Read it."""
        return self.read(value)


def accepting(**schema: object) -> Callable[[Callable[[object], Any]], Reader]:
    """Turn a function into a Reader with this JSON Schema."""
    return lambda read: Reader(read, schema)


@dataclass(frozen=True, slots=True)
class Form:
    """Text of a pattern (its outermost group is the value), with blanks around it or not."""

    pattern: str
    accepted: str  # for the error message

    @property
    def schema(self) -> dict[str, object]:
        """The same as JSON Schema."""
        return {"type": "string", "pattern": f"^{_BLANKS}({self.pattern}){_BLANKS}$"}

    def match(self, value: object) -> str:
        """The text without the blanks; raises ValueError."""
        found = re.fullmatch(f"{_BLANKS}({self.pattern}){_BLANKS}", value) if (
            isinstance(value, str)) else None
        if found is None:
            raise ValueError(f"{value!r}, accepted: {self.accepted}")
        return found[1]


_BLANKS = r"[ \t\r\n]*"


def up_to(most: int) -> str:
    """A pattern of the decimal numbers from 0 to this one."""
    digits = str(most)
    found = [rf"[0-9]{{1,{len(digits) - 1}}}"] if len(digits) > 1 else []
    for index, digit in enumerate(digits):
        if digit != "0":
            rest = len(digits) - index - 1
            found.append(f"{digits[:index]}[0-{int(digit) - 1}]{'[0-9]' * rest}")
    return f"0*({'|'.join([*found, digits])})"


def integer(value: object) -> int | None:
    """A number that JSON Schema takes for an integer (also 5.0), or None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) else None


def optional(read: Reader) -> Reader:
    """Null, or a value of another reader."""
    return Reader(lambda value: None if value is None else read(value),
                  {"anyOf": [{"type": "null"}, read.schema]})


@accepting(type=["string", "number"])
def text(value: object) -> str:
    """Text; a bare number is text too."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise ValueError(f"{value!r}, accepted: text")
    return str(value)


optional_text = optional(text)


_FLAGS = {form: value for word, value in {"true": True, "yes": True, "on": True, "false": False,
                                          "no": False, "off": False}.items()
          for form in (word, word.capitalize(), word.upper())}


@accepting(enum=[True, False, *_FLAGS])
def flag(value: object) -> bool:
    """True or false, also the words that are the same in YAML 1.1."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or value not in _FLAGS:
        raise ValueError(f"{value!r}, accepted: true, false")
    return _FLAGS[value]


DURATION = Form("[0-9]{1,9}(ms|s|m|h|d)", "a duration such as 500ms, 10s, 5m, 1h, 2d")
PERCENT = Form(f"{up_to(100)}%", "0% to 100%")


@accepting(**DURATION.schema)
def duration(value: object) -> float:
    """A duration, in seconds."""
    return seconds(DURATION.match(value))


@accepting(**PERCENT.schema)
def percent(value: object) -> float:
    """A percentage, as a fraction of 1."""
    return int(PERCENT.match(value).removesuffix("%")) / 100


def whole(low: int, high: int) -> Reader:
    """A whole number in a range; `low` is 0 or 1. It may be quoted."""
    form = Form(f"{'(?!0+[^0-9]*$)' if low else ''}{up_to(high)}",
                f"a whole number from {low} to {high}")

    @accepting(anyOf=[{"type": "integer", "minimum": low, "maximum": high}, form.schema])
    def read(value: object) -> int:
        number = integer(value)
        if number is None:
            return int(form.match(value))
        if not low <= number <= high:
            raise ValueError(f"{value!r}, accepted: {form.accepted}")
        return number

    return read


def automatic(read: Reader) -> Reader:
    """A number, or `auto`, which is read as 0."""
    return Reader(lambda value: 0 if value == "auto" else read(value),
                  {"anyOf": [{"const": "auto"}, read.schema]})


def choice(*accepted: str) -> Reader:
    """One of these words."""
    @accepting(enum=list(accepted))
    def read(value: object) -> str:
        if isinstance(value, str) and value in accepted:
            return value
        raise ValueError(f"{value!r}{nearest(str(value), accepted)} "
                         f"(accepted: {', '.join(accepted)})")

    return read


@accepting(type="array", items={"type": ["string", "number"]})
def texts(value: object) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(value, list):
        raise ValueError(f"{value!r}, accepted: a list, such as [a, b]")
    return tuple(text(item) for item in value)


SIZE = Form("[0-9]{1,18} *([kKmMgGtTpPeE]([iI]?[bB])?|[bB]([yY][tT][eE][sS]?)?)?",
            "a size such as 8GiB")
_MOST_BYTES = 10 ** 18


@accepting(anyOf=[{"type": "null"}, {"type": "integer", "minimum": 0, "maximum": _MOST_BYTES},
                  SIZE.schema])
def size(value: object) -> int | None:
    """Bytes, from `8GiB` or `8 GiB`; null means no limit."""
    if value is None:
        return None
    number = integer(value)
    if number is not None and 0 <= number <= _MOST_BYTES:
        return number
    written = SIZE.match(value)
    digits = written.rstrip(ascii_letters + " ")
    return int(digits) * unit_bytes(written[len(digits):].strip() or "b")


@accepting(anyOf=[{"type": ["string", "number"]}, texts.schema])
def text_or_texts(value: object) -> tuple[str, ...]:
    """One text, or a list of them."""
    return texts(value) if isinstance(value, list) else (text(value),)


_NAME = "[A-Za-z_][A-Za-z0-9_-]*"


def mapping(read: Reader) -> Reader:
    """The user's own names with a value each, sorted by name."""
    def all_of(value: object) -> tuple[tuple[str, Any], ...]:
        if not isinstance(value, dict):
            raise ValueError(f"{value!r}, accepted: a mapping, such as {{name: value}}")
        wrong = [name for name in value if not re.fullmatch(_NAME, str(name))]
        if wrong:
            raise ValueError(f"the name {wrong[0]!r}, accepted: letters, digits, _ and -")
        return tuple(sorted((str(name), _named(str(name), read, item))
                            for name, item in value.items()))

    return Reader(all_of, {"type": "object", "propertyNames": {"pattern": f"^{_NAME}$"},
                           "additionalProperties": read.schema}, free_keys=True)


def _named(name: str, read: Reader, value: object) -> object:
    try:
        return read(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


@accepting(anyOf=[{"type": "null"}, percent.schema, size.schema])
def share_or_size(value: object) -> float | int | None:
    """A percentage (a float, as a fraction of 1), a size in bytes (an int), or null: no limit."""
    share = isinstance(value, str) and value.strip().endswith("%")
    found: float | int | None = percent(value) if share else size(value)
    return found


ADDRESS = Form(rf"(\[[0-9a-fA-F:.]{{2,45}}\]|[A-Za-z0-9.-]{{1,253}}):{up_to(65535)}",
               "an address and a port, such as 127.0.0.1:9410")


@accepting(anyOf=[{"type": "null"}, ADDRESS.schema])
def address(value: object) -> str | None:
    """HOST:PORT, or null; an IPv6 address in brackets."""
    return None if value is None else ADDRESS.match(value)
