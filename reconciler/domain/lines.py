"""Where something stands, when that may be another file than the domain's own.

Most lines are plain numbers, of the file that is read. What came from the directory's defaults has
a `Line`, which goes through devices, claims and changes as a number does, and still knows its file.
"""

from __future__ import annotations

from typing import Self


class Line(int):
    """A line of another file than the one that is read."""

    file: str

    def __new__(cls, line: int, file: str) -> Self:
        """A line as a number, and its file."""
        found = super().__new__(cls, line)
        found.file = file
        return found

    def __str__(self) -> str:
        """As a message says it: of line 7 of defaults.xml."""
        return f"{int(self)} of {self.file}"


def located(file: str, line: int) -> tuple[str, int]:
    """The file and the line: the line's own file, where it has one."""
    return (line.file, int(line)) if isinstance(line, Line) else (file, line)
