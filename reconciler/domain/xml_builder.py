"""Builds the XML that devices and the writer produce."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.domain.place import Place

_IN_TEXT = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_IN_VALUES = _IN_TEXT | str.maketrans({"'": "&apos;", "\n": "&#10;", "\t": "&#9;"})


@dataclass(frozen=True, slots=True)
class XmlElement:
    """An element; attributes and children that are None are left out."""

    name: str
    attributes: dict[str, object] = field(default_factory=dict)
    children: tuple[XmlElement | None, ...] = ()
    text: str = ""

    def lines(self, depth: int = 0) -> Iterator[str]:
        """As lines of XML, indented by two spaces per level."""
        pad = "  " * depth
        attributes = "".join(f" {name}={_quoted(value)}" for name, value in self.attributes.items()
                             if value is not None)
        inside = [child for child in self.children if child is not None]
        if inside:
            yield f"{pad}<{self.name}{attributes}>"
            for child in inside:
                yield from child.lines(depth + 1)
            yield f"{pad}</{self.name}>"
        elif self.text:
            yield f"{pad}<{self.name}{attributes}>{self.text.translate(_IN_TEXT)}</{self.name}>"
        else:
            yield f"{pad}<{self.name}{attributes}/>"


def build(element: str, /, *children: XmlElement | None, text: str | int = "",
          **attributes: object) -> XmlElement:
    """An element with children or a text."""
    return XmlElement(element, attributes, children, str(text))


def build_text(name: str, value: str | int | None) -> XmlElement | None:
    """An element with this text, unless it is None."""
    return None if value is None else build(name, text=value)


def build_if_set(element: str, /, **attributes: object) -> XmlElement | None:
    """An element with attributes, unless all of them are None."""
    present = any(value is not None for value in attributes.values())
    return XmlElement(element, attributes) if present else None


def address(place: Place | None) -> XmlElement | None:
    """The <address> of a device."""
    if place is None:
        return None
    return build("address", type="pci", domain="0x0000", bus=f"0x{place.bus:02x}",
                 slot=f"0x{place.slot:02x}", function=f"{place.function:#x}")


def alias(name: str) -> XmlElement:
    """The <alias> of a device."""
    return build("alias", name=name)


def yes_no(*, value: bool, words: tuple[str, str] = ("yes", "no")) -> str:
    """A bool as libvirt writes it."""
    return words[0] if value else words[1]


def _quoted(value: object) -> str:
    """Quoted; a literal line break in an attribute would be read back as a space."""
    return f"'{str(value).translate(_IN_VALUES)}'"
