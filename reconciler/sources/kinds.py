"""The kinds of sources, by their name in source.kind.

A new kind is a module beside this one with a subclass of Source, a line in KINDS, and its name in
SOURCE_KINDS of settings/sections.py (a test holds the two equal).
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from reconciler.settings import Settings
    from reconciler.sources.source import Source


@dataclass(frozen=True, slots=True)
class Kind:
    """Where the class of a kind is. It is imported on first use: each kind has other libraries."""

    module: str
    name: str

    def __call__(self, settings: Settings) -> Source:
        """A source of this kind; raises ConfigError."""
        return self.load()(settings)

    def load(self) -> type[Source]:
        """Its class."""
        return cast("type[Source]", getattr(importlib.import_module(self.module), self.name))


KINDS = {
    "directory": Kind("reconciler.sources.local", "Local"),
    "git": Kind("reconciler.sources.git", "Git"),
}


def configured_class(settings: Settings) -> type[Source]:
    """The class of the kind that the configuration names."""
    return KINDS[settings.source.kind].load()
