"""Text of others made harmless for a terminal: what a guest, a file or a process may have written.

For the output of all verbs (cli/terminal.py) and for the log as text. Control characters, which a
terminal obeys, and characters that turn the order of others are written as escapes.
"""

from __future__ import annotations

import re

_COLOURS = r"\033\[(?:0|1|2|31|32|33|34)m"  # those of cli/terminal.py; they only colour
# C0 but tab and newline, DEL, C1, line separators, marks of direction, bytes that are no UTF-8.
_HARMFUL = ("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
            "\ud800-\udfff]")
_FOUND = re.compile(f"({_COLOURS})|{_HARMFUL}")
_FOUND_IN_LINE = re.compile(f"[\t\n]|{_HARMFUL}")
_BYTE = 0xDC00  # what Python adds to a byte that is no UTF-8


def visible(text: str) -> str:
    """The text with every harmful character as an escape; colours, tabs and newlines stay."""
    return _FOUND.sub(lambda found: found[0] if found[1] else _escape(found), text)


def visible_line(text: str) -> str:
    """The same for what must stay on one line, without any colours."""
    return _FOUND_IN_LINE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if _BYTE + 0x80 <= code <= _BYTE + 0xFF:
        return f"\\x{code - _BYTE:02x}"
    return found[0].encode("ascii", "backslashreplace").decode() if code > 0x7F else (
        {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(found[0], f"\\x{code:02x}"))
