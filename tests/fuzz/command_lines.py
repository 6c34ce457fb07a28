"""The proof that a value of a file stays within its option's value.

An accepted file gets a twin: the same tree, with each free value (a path, a name, a serial number)
replaced by a mark of plain letters. What the twin's command line looks like is what was meant. Both
must have the same flags and the same names of options; and where the twin has a mark, the file's
own must have the value, whole. A value that was split, cut or taken for an option breaks that.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

from lxml import etree

from reconciler.domain.model import Domain
from reconciler.domain.numbers import complete
from reconciler.domain.rules import Element, RowVerdict, Type
from reconciler.domain.table import DOMAIN
from reconciler.stratovirt.addresses import lay_out
from reconciler.stratovirt.command_line import Start, arguments
from tests.fuzz.values import accepts

_SPACE = " \t\r\n"  # XML's
_LONGEST = 1 << 17  # bytes of one argument: what execve takes
RUN = Path("/run/vm")
# Values that decide something besides: a mark in their place would mean another VM.
_MEANING = {("type", "arch"), ("type", "machine"), ("model", "type"), ("target", "name"),
            ("emulator", None)}
_WHOLE = {"-append", "-name", "-uuid", "-kernel", "-initrd", "-smbios"}
_DERIVED = re.compile(r"sv[0-9a-f]{10}|52:54:00(:[0-9a-f]{2}){3}")
_PLACES = ("bus", "addr", "port", "multifunction")  # depend on which device sorts first


def command_line(domain: Domain) -> list[str]:
    domain = complete(domain, {})
    return arguments(domain, Start(RUN, lay_out(domain, {}, spare=2), paused=True))


def twin(data: bytes) -> tuple[bytes, dict[str, str]] | None:
    """The file with marks, and the value that each stands for; None where nothing is free."""
    root = etree.fromstring(data, etree.XMLParser(remove_comments=True))
    marks: dict[str, str] = {}
    _mark(root, DOMAIN, marks)
    return (etree.tostring(root), {mark: value for value, mark in marks.items()}) if marks else None


def _mark(at: etree._Element, row: Element, marks: dict[str, str]) -> None:
    tag = str(at.tag)
    for name, value in list(at.attrib.items()):
        rule = row.by_attribute[name]
        if rule.verdict is RowVerdict.ACCEPT and (tag, name) not in _MEANING:
            at.set(name, _marked(value.strip(_SPACE), rule.type, marks))
    text = (at.text or "").strip(_SPACE)
    if row.text is not None and text and (tag, None) not in _MEANING:
        at.text = _marked(text, row.text, marks)
    for child in at.iterchildren(etree.Element):
        rule_ = row.by_name.get(str(child.tag))
        if rule_ is not None and rule_.verdict is RowVerdict.ACCEPT:
            _mark(child, rule_, marks)


def _marked(value: str, kind: Type, marks: dict[str, str]) -> str:
    slash = "/" if value.startswith("/") else ""
    mark = marks.get(value) or f"{slash}mk{len(marks)}q"
    if not accepts(kind, mark) or value.startswith("vnet") or "/libvirt/" in value:
        return value
    marks[value] = mark
    return mark


def prove(words: list[str], wanted: list[str], values: dict[str, str],
          uuids: tuple[str, str]) -> None:
    """Hold a command line against its twin's; AssertionError says what became of a value."""
    assert not any(re.search(r"[\x00-\x1f\x7f]", word) for word in words)
    assert all(len(word.encode()) < _LONGEST for word in words)
    ours, theirs = _options(words), _options(wanted)
    assert _shape(ours) == _shape(theirs), (words, wanted)
    found = Counter(_plain(flag, part, {}, uuids[0]) for flag, parts in ours for part in parts)
    meant = Counter(_plain(flag, part, values, uuids[1]) for flag, parts in theirs
                    for part in parts)
    assert found == meant, (found - meant, meant - found)


def _options(words: list[str]) -> list[tuple[str, list[str]]]:
    """Flags with their lists, taken apart as StratoVirt does."""
    found: list[tuple[str, list[str]]] = []
    for word in words:
        if word.startswith("-"):
            found.append((word, []))
        else:
            flag, parts = found[-1]
            assert not parts, (flag, word)
            parts += [word] if flag in _WHOLE else word.split(",")
            assert flag in _WHOLE or all(part.count("=") <= 1 for part in parts), word
    return found


def _shape(options: list[tuple[str, list[str]]]) -> Counter[tuple[str, ...]]:
    """Each flag with the names of its options; a word without = is its own name."""
    return Counter((flag, *([""] if flag in _WHOLE else sorted(
        part.partition("=")[0] for part in parts if part.count("=")))) for flag, parts in options)


def _plain(flag: str, part: str, values: dict[str, str], uuid: str) -> tuple[str, str, str]:
    """An option with its value as the file has it, without what follows from the order."""
    name, equals, value = ("", "", part) if flag in _WHOLE else part.partition("=")
    if not equals and flag not in _WHOLE:
        return flag, part, ""
    if name in _PLACES:
        return flag, name, ""
    for mark, original in values.items():
        value = value.replace(mark, original) if mark in value else value
    if value.startswith("/"):
        value = os.path.normpath(value)
    return flag, name, _DERIVED.sub("DERIVED", value).replace(uuid, "UUID")
