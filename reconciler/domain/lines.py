"""Line numbers that may belong to another file than the domain's own.

Most lines are plain numbers within the file that is read. Elements from the directory's defaults
have a `Line`, which devices, resources and changes pass on like any number, with its file.
"""

from __future__ import annotations

from typing import Self


class Line(int):
    """A line number in another file than the one that is read."""

    file: str

    def __new__(cls, line: int, file: str) -> Self:
        """A line number and its file."""
        found = super().__new__(cls, line)
        found.file = file
        return found

    def __str__(self) -> str:
        """As in a message: 7 of defaults.xml."""
        return f"{int(self)} of {self.file}"


def located(file: str, line: int) -> tuple[str, int]:
    """The file and the line; the line's own file where it has one."""
    return (line.file, int(line)) if isinstance(line, Line) else (file, line)
