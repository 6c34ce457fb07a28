"""The kinds of sources. A new kind is a file beside this one and an entry here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.sources.git import Git
from reconciler.sources.local import Local

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.settings import Settings
    from reconciler.sources.source import Source

KINDS: dict[str, Callable[[Settings], Source]] = {"directory": Local, "git": Git}
