"""What makes a checked value of what YAML gives, and tells editors the same as JSON Schema."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reconciler.units import nearest, seconds, unit_bytes

if TYPE_CHECKING:
    from collections.abc import Callable


def key(read: Reader, default: object) -> Any:  # Any: a field of any type
    """A key: how it is read, and its default."""
    return field(default=default, metadata={"read": read})


def section(kind: type) -> Any:  # Any: as above
    """A section within a section."""
    return field(default_factory=kind, metadata={"section": kind})


@dataclass(frozen=True, slots=True)
class Reader:
    """Makes a value of what YAML gives, or raises ValueError; its schema tells editors the same."""

    read: Callable[[object], Any]
    schema: dict[str, object]

    def __call__(self, value: object) -> Any:
        """Read it."""
        return self.read(value)


def accepting(**schema: object) -> Callable[[Callable[[object], Any]], Reader]:
    """Turn a function into a Reader with this JSON Schema."""
    return lambda read: Reader(read, schema)


def optional(read: Reader) -> Reader:
    """Null, or what another reader reads."""
    return Reader(lambda value: None if value is None else read(value),
                  {"anyOf": [{"type": "null"}, read.schema]})


@accepting(type=["string", "number"])
def text(value: object) -> str:
    """Text; a bare number is text too."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        message = f"{value!r}, accepted: text"
        raise ValueError(message)
    return str(value)


optional_text = optional(text)


@accepting(enum=[True, False, "true", "yes", "on", "false", "no", "off"])
def flag(value: object) -> bool:
    """True or false, as YAML 1.1 and people write them."""
    words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
    found = words.get(str(value).lower())
    if found is None:
        message = f"{value!r}, accepted: true, false"
        raise ValueError(message)
    return found


@accepting(type="string", pattern="^[0-9]{1,9}(ms|s|m|h|d)$")
def duration(value: object) -> float:
    """Seconds."""
    return seconds(text(value))


@accepting(type="string", pattern="^([0-9]|[1-9][0-9]|100)%$")
def percent(value: object) -> float:
    """A share, of 1."""
    written = text(value)
    number = written.removesuffix("%")
    if not number.isdigit() or number == written or int(number) > 100:
        message = f"{written!r}, accepted: 0% to 100%"
        raise ValueError(message)
    return int(number) / 100


def whole(low: int, high: int) -> Reader:
    """A whole number within a range."""
    @accepting(type="integer", minimum=low, maximum=high)
    def read(value: object) -> int:
        written = text(value)
        if not written.isdecimal() or not low <= int(written) <= high:
            message = f"{written!r}, accepted: a whole number from {low} to {high}"
            raise ValueError(message)
        return int(written)

    return read


def automatic(read: Reader) -> Reader:
    """A number, or `auto`, which is 0."""
    return Reader(lambda value: 0 if value == "auto" else read(value),
                  {"anyOf": [{"const": "auto"}, read.schema]})


def choice(*accepted: str) -> Reader:
    """One of these words."""
    @accepting(enum=list(accepted))
    def read(value: object) -> str:
        if isinstance(value, str) and value in accepted:
            return value
        message = f"{value!r}{nearest(str(value), accepted)} (accepted: {', '.join(accepted)})"
        raise ValueError(message)

    return read


@accepting(type="array", items={"type": ["string", "number"]})
def texts(value: object) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(value, list):
        message = f"{value!r}, accepted: a list, such as [a, b]"
        raise ValueError(message)  # one kind of error for all wrong values
    return tuple(text(item) for item in value)


@accepting(type=["string", "integer", "null"], minimum=0,
            pattern="^[0-9]+ *([kKmMgGtTpPeE]([iI]?[bB])?|[bB]([yY][tT][eE][sS]?)?)?$")
def size(value: object) -> int | None:
    """Bytes, from `8GiB` or `8 GiB`; null is no limit."""
    if value is None:
        return None
    written = text(value).strip()
    number = written.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
    if not number.isdecimal():
        message = f"{written!r}, accepted: a size such as 8GiB"
        raise ValueError(message)
    return int(number) * unit_bytes(written[len(number):].strip() or "b")


@accepting(anyOf=[{"type": ["string", "number"]}, texts.schema])
def text_or_texts(value: object) -> tuple[str, ...]:
    """One text, or a list of them."""
    return texts(value) if isinstance(value, list) else (text(value),)


_NAME = "^[A-Za-z_][A-Za-z0-9_-]*$"


def mapping(read: Reader) -> Reader:
    """Names with a value each, sorted by name."""
    @accepting(type="object", propertyNames={"pattern": _NAME}, additionalProperties=read.schema)
    def all_of(value: object) -> tuple[tuple[str, Any], ...]:
        if not isinstance(value, dict):
            message = f"{value!r}, accepted: a mapping, such as {{name: value}}"
            raise ValueError(message)
        wrong = [name for name in value if not re.match(_NAME, str(name))]
        if wrong:
            message = f"the name {wrong[0]!r}, accepted: letters, digits, _ and -"
            raise ValueError(message)
        return tuple(sorted((str(name), _named(str(name), read, item))
                            for name, item in value.items()))

    return all_of


def _named(name: str, read: Reader, value: object) -> object:
    try:
        return read(value)
    except ValueError as error:
        message = f"{name}: {error}"
        raise ValueError(message) from None


@accepting(anyOf=[{"type": "null"}, percent.schema, size.schema])
def share_or_size(value: object) -> float | int | None:
    """A share of all there is (a float), a size in bytes (an int), or null for no limit."""
    share = isinstance(value, str) and value.strip().endswith("%")
    found: float | int | None = percent(value) if share else size(value)
    return found


@accepting(anyOf=[{"type": "null"}, {
    "type": "string", "pattern": r"^(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9.-]{1,253}):[0-9]{1,4}$"}])
def address(value: object) -> str | None:
    """HOST:PORT, or null; an IPv6 address in brackets."""
    if value is None:
        return None
    written = str(text(value))
    match = re.fullmatch(r"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9.-]{1,253}):([0-9]{1,5})", written)
    if match is None or int(match[2]) > 65535:
        message = f"{written!r}, accepted: an address and a port, such as 127.0.0.1:9410"
        raise ValueError(message)
    return written
