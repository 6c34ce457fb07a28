"""Values of this version from JSON that any version of the reconciler may have written.

After a downgrade there are fields on disk that this version does not know. They are skipped: a
record must not count as damaged, and hold its domain, only because it says more.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def known_fields(kind: type[T], value: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a JSON object that `kind`, a dataclass, has fields for.

    Raises AttributeError if it is not an object.
    """
    names = {field.name for field in fields(kind)}
    return {key: part for key, part in value.items() if key in names}


def from_stored(kind: type[T], value: Mapping[str, Any]) -> T:
    """Raises TypeError or AttributeError if the value lacks a field, or is not an object."""
    return kind(**known_fields(kind, value))
