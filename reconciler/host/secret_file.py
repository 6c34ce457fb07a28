"""Small files that the configuration names: tokens, secrets of webhooks, public keys."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LONGEST = 64 << 10  # bytes; no secret is longer
_ANY_USER = 0o007


class Exposed(PermissionError):
    """Every user of this host may use the file."""


def read_secret(file: Path, *, private: bool = False) -> bytes:
    """A secret without the white space around it; raises OSError.

    With `private`, a file that is open to users other than its owner and group raises Exposed.
    """
    return read_bounded(file, LONGEST, private=private).strip()


def read_bounded(file: Path, longest: int, *, private: bool = False) -> bytes:
    """The first `longest` bytes of a file as they are; see read_secret."""
    with open(file, "rb") as handle:
        if private and os.fstat(handle.fileno()).st_mode & _ANY_USER:
            raise Exposed(errno.EPERM, "every user of this host may use it", str(file))
        return handle.read(longest)
