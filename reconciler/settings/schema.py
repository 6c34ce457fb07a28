"""The JSON Schema of config.yaml for editors, generated from the dataclasses of the sections.

    reconciler schema config > contrib/config.schema.json

Each key has the schema of its reader; a property test compares the two.
"""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any

from reconciler.settings import Settings


def schema() -> dict[str, Any]:
    """The complete schema."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": "urn:stratovirt-reconciler:config:1",
            "title": "config.yaml of the StratoVirt reconciler",
            **_section(Settings, "The configuration; every key has a default.")}


def _section(kind: type, description: str) -> dict[str, Any]:
    """The schema of a section: its keys and no others."""
    return {"description": description, "type": ["object", "null"],
            "additionalProperties": False,
            "properties": {field.name: _key(field.metadata) for field in fields(kind)
                           if field.metadata}}


def _key(metadata: Any) -> dict[str, Any]:
    if "section" in metadata:
        kind = metadata["section"]
        return _section(kind, inspect.getdoc(kind) or "")
    return dict(metadata["read"].schema)
