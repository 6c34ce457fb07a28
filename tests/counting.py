"""How often the program does something that costs, seen from outside: by the interpreter itself."""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_readers: list[list[str]] = []


def _note_open(event: str, arguments: tuple) -> None:
    if event != "open" or not _readers:
        return
    path, _, flags = arguments
    reads = isinstance(path, str) and flags & os.O_ACCMODE == os.O_RDONLY
    if reads and path.endswith(".xml"):
        for read in _readers:
            read.append(os.path.basename(path))


sys.addaudithook(_note_open)  # stays for as long as the process, and is idle outside `reads`


@contextmanager
def reads() -> Iterator[list[str]]:
    """The names of the *.xml files that any thread opens for reading, in their order."""
    found: list[str] = []
    _readers.append(found)
    try:
        yield found
    finally:
        _readers.remove(found)


@contextmanager
def calls(*functions: Callable) -> Iterator[Counter]:
    """How often this thread, and those made from now on, call these functions, by their names.

    Coroutine functions cannot be counted.
    """
    found = Counter({function.__name__: 0 for function in functions})
    names = {function.__code__: function.__name__ for function in functions}

    def seen(frame, event, _argument):
        if event == "call" and frame.f_code in names:
            found[names[frame.f_code]] += 1

    before, before_in_threads = sys.getprofile(), threading.getprofile()
    sys.setprofile(seen)
    threading.setprofile(seen)
    try:
        yield found
    finally:
        sys.setprofile(before)
        threading.setprofile(before_in_threads)
