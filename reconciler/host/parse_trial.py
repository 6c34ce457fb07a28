"""A trial for large files: parsed first in a process that the kernel ends when it takes too long.

libxml2 is safe for what domain/xml.py lets through, as far as we know; what is not known yet must
not stand in the way of all VMs. Neither a thread nor a signal can end a parse, a process can. A
domain file takes a few kB, and is then parsed at once, in the time that even quadratic work takes
for so little.
"""

from __future__ import annotations

import math
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from reconciler.domain.model import InvalidDomain, Problem

_CHILD = Path(__file__).with_name("parse_child.py")
LARGE = 64 << 10  # bytes from which on a trial is made; it takes a tenth of a second
_BUSY = 12  # times the limit that a trial may last on a host that is busy with other things


@dataclass(frozen=True, slots=True)
class ParseTrial:
    """`limit`: seconds of processor time that a file may take."""

    limit: float = 5.0

    def check(self, data: bytes, file: str) -> None:
        """Raise InvalidDomain for a large file that takes too long to parse (blocking)."""
        if len(data) <= LARGE:
            return
        with suppress(OSError):  # without a process, there is no trial
            if not self._ends(data):
                raise InvalidDomain((Problem(
                    file, 1, "", f"takes more than {self.limit:g} s to parse; accepted: a file "
                    f"that does not, such as one of less than {LARGE} bytes"),))

    def _ends(self, data: bytes) -> bool:
        try:
            done = subprocess.run(  # noqa: S603  # a list, never a shell
                [sys.executable, "-I", str(_CHILD), str(math.ceil(self.limit))], input=data,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
                timeout=_BUSY * self.limit)
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

