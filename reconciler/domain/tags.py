"""An XML element as a plain value: what devices give, and what writer.py makes a file of.

The way back needs no parser's library: a device says what stands in its element, and one place
knows how that is escaped and indented.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.domain.model import Place

_IN_TEXT = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_IN_VALUE = _IN_TEXT | str.maketrans({"'": "&apos;", "\n": "&#10;", "\t": "&#9;"})


@dataclass(frozen=True, slots=True)
class Tag:
    """One element: children, or text, or neither."""

    name: str
    attributes: tuple[tuple[str, str], ...] = ()
    children: tuple[Tag, ...] = ()
    text: str | None = None

    def render(self, depth: int = 0) -> str:
        """Its lines, each with its end."""
        pad = "  " * depth
        head = "".join(f" {name}='{value.translate(_IN_VALUE)}'" for name, value in self.attributes)
        if self.children:
            inner = "".join(child.render(depth + 1) for child in self.children)
            return f"{pad}<{self.name}{head}>\n{inner}{pad}</{self.name}>\n"
        if self.text is not None:
            return f"{pad}<{self.name}{head}>{self.text.translate(_IN_TEXT)}</{self.name}>\n"
        return f"{pad}<{self.name}{head}/>\n"


def tag(name: str, /, *children: Tag | None, text: object = None, **attributes: object) -> Tag:
    """An element without the attributes and children that are None."""
    return Tag(name, tuple((key, _value(value)) for key, value in attributes.items()
                           if value is not None),
               tuple(child for child in children if child is not None),
               None if text is None else str(text))


def if_any(found: Tag) -> Tag | None:
    """The element, unless nothing stands in it."""
    return found if found.attributes or found.children or found.text is not None else None


def alias(name: str) -> Tag:
    """A device's name."""
    return tag("alias", name=name)


def address(place: Place | None) -> Tag | None:
    """A device's PCI place."""
    if place is None:
        return None
    return tag("address", type="pci", domain="0x0000", bus=f"{place.bus:#04x}",
               slot=f"{place.slot:#04x}", function=f"{place.function:#x}")


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
