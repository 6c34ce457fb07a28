"""What may be replaced in a parsed file: `${NAME}` of the host's variables, and `{index}`.

Between the parse and the reader, on values of attributes and texts of elements alone, so what is
put in can never become markup; the reader then checks it as if it were written (rule 11). There is
no template language, and a value that was put in is not looked at for variables again. What other
namespaces have in <metadata> is theirs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lxml import etree

from reconciler.domain.metadata import FAMILY
from reconciler.domain.xml import LONGEST
from reconciler.units import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from reconciler.domain.xml import Report

_VARIABLE = re.compile(r"\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_-]*)\})?")
_INDEX = re.compile(r"\{(\{index\})\}|(?<!\$)\{index\}")  # ${index} would be a variable
_LONGEST_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Variables:
    """What a host's configuration gives to its files; `strict`: an unknown one is an error."""

    values: tuple[tuple[str, str], ...] = ()
    strict: bool = True


@dataclass(slots=True)
class Filling:
    """Puts variables into one file's tree. `used`: what for, in the order of the file."""

    variables: Variables
    report: Report
    used: dict[str, str | None] = field(default_factory=dict)
    changed: bool = False
    _length: int = 0

    def fill(self, root: etree._Element) -> None:
        """Every value; what is wrong goes into the report."""
        known = dict(self.variables.values)
        _replace(root, "${", lambda raw, name, text: self._filled(raw, name, text, known),
                 self.report)

    def _filled(self, raw: etree._Element, name: str, text: str, known: dict[str, str]) -> str:

        def one(found: re.Match[str]) -> str:
            value = self._value(raw, name, found, known)
            self._length += len(value)
            if self._length > LONGEST:
                self._wrong(raw, name, f"more than {LONGEST} characters with its variables; "
                                       "accepted: fewer")
                return ""
            return value

        fresh = _VARIABLE.sub(one, text)
        self.changed |= fresh != text
        return fresh

    def _value(self, raw: etree._Element, name: str, found: re.Match[str],
               known: dict[str, str]) -> str:
        if found[0] == "$${":
            return "${"
        variable = found[1]
        if variable is None:
            if self.variables.strict:
                self._wrong(raw, name, f"found '{found.string[found.start():][:_LONGEST_SHOWN]}', "
                                       "which is no ${NAME}; accepted: ${NAME}, and $${ for the "
                                       "characters themselves")
            return found[0]
        self.used[variable] = known.get(variable)
        if variable not in known and self.variables.strict:
            near = "; did you mean '{index}'?" if variable == "index" else nearest(
                variable[:_LONGEST_SHOWN], known)
            there = f"those of source.variables: {', '.join(known)}" if known else (
                "none, since source.variables is empty")
            self._wrong(raw, name, f"no variable '{variable[:_LONGEST_SHOWN]}'{near}; accepted: "
                                   f"{there} ($${{NAME}} is for the characters themselves)")
        return known.get(variable, found[0])

    def _wrong(self, raw: etree._Element, name: str, message: str) -> None:
        self.report.add(self.report.line_of(raw), path_of(raw, name), message)


def set_index(root: etree._Element, index: int, report: Report) -> None:
    """Put a number where {index} stands; {{index}} is {index} itself."""
    _replace(root, "{index}",
             lambda raw, name, text: _INDEX.sub(lambda found: found[1] or str(index), text),
             report)


def has_index(text: str) -> bool:
    """Whether a text differs from one index to the next."""
    return any(found[1] is None for found in _INDEX.finditer(text))


def literal(text: str) -> str:
    """A whole file's text in which every ${ is meant as it stands."""
    return text.replace("${", "$${")


def ours(root: etree._Element) -> Iterator[etree._Element]:
    """Every element but those of other namespaces, in the order of the file."""
    waiting = [root]
    while waiting:
        raw = waiting.pop()
        tag = str(raw.tag)
        if not tag.startswith("{") or tag.startswith(f"{{{FAMILY}"):
            yield raw
            waiting += reversed(list(raw.iterchildren(etree.Element)))


def path_of(raw: etree._Element, attribute: str = "") -> str:
    """As the reader names it: domain/devices/disk[2]/source/@file."""
    steps = []
    here: etree._Element | None = raw
    while here is not None:
        above = here.getparent()
        same = [] if above is None else list(above.iterchildren(str(here.tag)))
        name = str(here.tag).rpartition("}")[2]
        steps.append(f"{name}[{same.index(here) + 1}]" if len(same) > 1 else name)
        here = above
    return "/".join(reversed(steps)) + (f"/@{attribute}" if attribute else "")


def _replace(root: etree._Element, mark: str, fresh: Callable[[etree._Element, str, str], str],
             report: Report) -> None:
    """Give every value that has the mark to `fresh`, by its element and attribute (or none)."""
    for raw in ours(root):
        for name, value in [(str(k), str(v)) for k, v in raw.attrib.items() if mark in str(v)]:
            _set(raw, name, fresh(raw, name, value), report)
        if raw.text is not None and mark in raw.text:
            _set(raw, "", fresh(raw, "", raw.text), report)


def _set(raw: etree._Element, attribute: str, value: str, report: Report) -> None:
    try:
        if attribute:
            raw.set(attribute, value)
        else:
            raw.text = value
    except ValueError:
        report.add(report.line_of(raw), path_of(raw, attribute),
                   f"found {value[:_LONGEST_SHOWN]!r} with its variables; accepted: no control "
                   "characters")
