"""An element to be written: what devices make of themselves, and the writer puts into a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.domain.model import Place

_IN_VALUES = {"'": "&apos;", "\n": "&#10;", "\t": "&#9;"}


@dataclass(frozen=True, slots=True)
class Tag:
    """An element; attributes that are None are not there, and neither are children."""

    name: str
    attributes: dict[str, object] = field(default_factory=dict)
    children: tuple[Tag | None, ...] = ()
    text: str = ""

    def lines(self, depth: int = 0) -> Iterator[str]:
        """As XML, two spaces a level."""
        pad = "  " * depth
        words = "".join(f" {name}={_quoted(value)}" for name, value in self.attributes.items()
                        if value is not None)
        inside = [child for child in self.children if child is not None]
        if inside:
            yield f"{pad}<{self.name}{words}>"
            for child in inside:
                yield from child.lines(depth + 1)
            yield f"{pad}</{self.name}>"
        elif self.text:
            yield f"{pad}<{self.name}{words}>{escape(self.text)}</{self.name}>"
        else:
            yield f"{pad}<{self.name}{words}/>"


def tag(element: str, /, *children: Tag | None, text: str | int = "",
        **attributes: object) -> Tag:
    """An element."""
    return Tag(element, attributes, children, str(text))


def maybe(name: str, value: str | int | None) -> Tag | None:
    """An element with this text, where there is one."""
    return None if value is None else tag(name, text=value)


def having(element: str, /, **attributes: object) -> Tag | None:
    """An element with attributes, where any of them is there."""
    present = any(value is not None for value in attributes.values())
    return Tag(element, attributes) if present else None


def address(place: Place | None) -> Tag | None:
    """Where a device sits."""
    if place is None:
        return None
    return tag("address", type="pci", domain="0x0000", bus=f"0x{place.bus:02x}",
               slot=f"0x{place.slot:02x}", function=f"{place.function:#x}")


def alias(name: str) -> Tag:
    """A device's id."""
    return tag("alias", name=name)


def yes(*, value: bool, words: tuple[str, str] = ("yes", "no")) -> str:
    """A truth, as libvirt writes it."""
    return words[0] if value else words[1]


def _quoted(value: object) -> str:
    """A line's end as it is would be read back as a space."""
    return f"'{escape(str(value), _IN_VALUES)}'"
