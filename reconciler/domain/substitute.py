"""Substitution in a parsed file: `${NAME}` by the host's variables, and `{index}`.

Between the parser and the reader, in attribute values and texts only, so that values never become
markup; the reader then checks the result like any file (rule 11). There is no template language,
and substituted values are not searched for variables again. Elements of foreign namespaces in
<metadata> stay as they are.
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
    """The variables of a host's configuration; `strict`: unknown names are errors."""

    values: tuple[tuple[str, str], ...] = ()
    strict: bool = True


@dataclass(slots=True)
class Substitution:
    """Substitutes variables in one file's tree. `used`: names and values in the file's order."""

    variables: Variables
    report: Report
    used: dict[str, str | None] = field(default_factory=dict)
    changed: bool = False
    _length: int = 0

    def fill(self, root: etree._Element) -> None:
        """Substitute in every value; errors go into the report."""
        known = dict(self.variables.values)
        _replace(root, "${", lambda raw, name, text: self._substituted(raw, name, text, known),
                 self.report)

    def _substituted(self, raw: etree._Element, name: str, text: str, known: dict[str, str]) -> str:

        def one(found: re.Match[str]) -> str:
            value = self._value(raw, name, found, known)
            self._length += len(value)
            if self._length > LONGEST:
                self._wrong(raw, name, f"more than {LONGEST} characters after substitution; "
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
                            "which is not ${NAME}; accepted: ${NAME}, or $${ for a "
                            "literal ${")
            return found[0]
        self.used[variable] = known.get(variable)
        if variable not in known and self.variables.strict:
            near = "; did you mean '{index}'?" if variable == "index" else nearest(
                variable[:_LONGEST_SHOWN], known)
            there = f"those of source.variables: {', '.join(known)}" if known else (
                "none, since source.variables is empty")
            self._wrong(raw, name, f"no variable '{variable[:_LONGEST_SHOWN]}'{near}; accepted: "
                        f"{there} ($${{NAME}} for a literal ${{NAME}})")
        return known.get(variable, found[0])

    def _wrong(self, raw: etree._Element, name: str, message: str) -> None:
        self.report.add(self.report.line_of(raw), path_of(raw, name), message)


def set_index(root: etree._Element, index: int, report: Report) -> None:
    """Replace {index} by a number; {{index}} is a literal {index}."""
    _replace(root, "{index}",
             lambda raw, name, text: _INDEX.sub(lambda found: found[1] or str(index), text),
             report)


def has_index(text: str) -> bool:
    """Whether the text contains {index}."""
    return any(found[1] is None for found in _INDEX.finditer(text))


def literal(text: str) -> str:
    """The text of a file with every ${ escaped."""
    return text.replace("${", "$${")


def own_elements(root: etree._Element) -> Iterator[etree._Element]:
    """Every element except those of foreign namespaces, in the order of the file."""
    waiting = [root]
    while waiting:
        raw = waiting.pop()
        tag = str(raw.tag)
        if not tag.startswith("{") or tag.startswith(f"{{{FAMILY}"):
            yield raw
            waiting += reversed(list(raw.iterchildren(etree.Element)))


def path_of(raw: etree._Element, attribute: str = "") -> str:
    """The element path, as the reader writes it: domain/devices/disk[2]/source/@file."""
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
    """Replace every value that contains the mark by `fresh(element, attribute or "", value)`."""
    for raw in own_elements(root):
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
                   f"found {value[:_LONGEST_SHOWN]!r} after substitution; accepted: no control "
                   "characters")
