"""A domain file before it is written: elements that may hold anything, even what is not XML."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr


@dataclass
class Piece:
    """An element. Texts among `inside` are written as they are: escape what is to be a value."""

    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    inside: list[Piece | str] = field(default_factory=list)

    def all(self) -> Iterator[Piece]:
        yield self
        for child in self.inside:
            if isinstance(child, Piece):
                yield from child.all()

    def child(self, name: str) -> Piece | None:
        return next((c for c in self.inside if isinstance(c, Piece) and c.name == name), None)

    def written(self) -> str:
        attributes = "".join(f" {name}={quoteattr(value)}"
                             for name, value in self.attributes.items())
        inside = "".join(c if isinstance(c, str) else c.written() for c in self.inside)
        return f"<{self.name}{attributes}>{inside}</{self.name}>"


def piece(name: str, /, *inside: Piece | str | None, **attributes: str) -> Piece:
    """An element of right values; what is None is left out."""
    return Piece(name, attributes, [c if isinstance(c, Piece) else escape(c)
                                    for c in inside if c is not None])
