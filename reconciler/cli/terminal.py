"""Output to a terminal or a pipe: tables, colours on a terminal only, errors with a hint."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, cast

from reconciler.visible import visible, visible_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_COLOURS = {"green": "32", "yellow": "33", "red": "31", "blue": "34", "dim": "2", "bold": "1"}
SHOWN = {"absent": "shut off"}  # observed states whose name differs for users
SLOW = 1.0  # seconds after which the user is shown what takes so long


class Screen:
    """A stream that shows text of others, and makes a terminal obey none of it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        """All else is the stream's own."""
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Escaped; what the stream's encoding does not have is escaped, too."""
        shown, encoding = visible(text), self._stream.encoding or "ascii"
        try:
            self._stream.write(shown)
        except UnicodeEncodeError:
            self._stream.write(shown.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def control(self, text: str) -> None:
        """Sequences of our own, which the terminal shall obey."""
        self._stream.write(text)
        self._stream.flush()


def screen(stream: TextIO) -> TextIO:
    """The stream as all verbs write to it."""
    return cast("TextIO", Screen(stream))


def control(text: str, stream: TextIO) -> None:
    """Let a terminal clear a line or the screen."""
    if isinstance(stream, Screen):
        stream.control(text)


def exact(data: bytes) -> None:
    """Write a document: byte for byte, but harmless to a terminal."""
    sys.stdout.flush()
    if sys.stdout.isatty():
        sys.stdout.write(data.decode(errors="surrogateescape"))
    else:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def coloured(stream: TextIO | None = None) -> bool:
    """Whether to use colours; NO_COLOR is honoured."""
    return (stream or sys.stdout).isatty() and not os.environ.get("NO_COLOR") and (
        os.environ.get("TERM") != "dumb")


def paint(text: str, colour: str, stream: TextIO | None = None) -> str:
    """The text, in a colour if the stream is a terminal."""
    return f"\033[{_COLOURS[colour]}m{text}\033[0m" if coloured(stream) else text


def table(heads: Sequence[str], rows: Sequence[Sequence[str]],
          colours: Sequence[Sequence[str | None]] = ()) -> str:
    """A table with columns as wide as their content; the last one is not padded."""
    rows = [[visible_line(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in (heads, *rows)) for i in range(len(heads))]
    lines = [paint("  ".join(h.ljust(w) for h, w in zip(heads, widths, strict=True)).rstrip(),
                   "bold")]
    for number, row in enumerate(rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        cells[-1] = row[-1]
        if colours:
            cells = [paint(cell, colour) if colour else cell
                     for cell, colour in zip(cells, colours[number], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def exits(restarts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How often a VM has exited in which way, and its last exit; empty if it never has."""
    end, kinds = restarts["lastExit"], restarts.get("byKind", {})
    found = []
    if kinds:
        counts = ", ".join(f"{kind} {count}" for kind, count in kinds.items())
        again = (f"restarts {restarts['total']} (towards the crash-loop limit: "
                 f"{restarts['inWindow']})")
        found.append(("exits", f"{counts}; {again}"))
    if end:
        at = f" at {end['at']}" if end.get("at") else ""
        found.append(("last exit", f"{end['kind']}{at}: {end['message']}"))
    return found


def complain(message: str, hint: str = "") -> None:
    """Print an error and, if there is one, what to do about it."""
    print(f"{paint('reconciler:', 'red', sys.stderr)} {message}", file=sys.stderr)
    if hint:
        print(f"  {hint}", file=sys.stderr)


@contextmanager
def progress(what: str) -> Iterator[None]:
    """Show what is being waited for after a second; on a terminal only."""
    if not sys.stderr.isatty():
        yield
        return
    over = threading.Event()

    def turn() -> None:
        begun = time.monotonic()
        while not over.wait(SLOW if time.monotonic() - begun < SLOW else 0.2):
            control("\r", sys.stderr)
            print(f"{what} … {time.monotonic() - begun:.0f} s ", end="", file=sys.stderr,
                  flush=True)
        if time.monotonic() - begun >= SLOW:
            control("\r\033[K", sys.stderr)

    thread = threading.Thread(target=turn, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
