"""Compares the verdicts of the reader and of the schema on a file.

Both are made from the same tables, so a disagreement is a bug: an editor would accept a file that
the reader rejects, or the reverse. `validate` compares them on every file, tests on many more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lxml import etree

from reconciler.domain.metadata import FAMILY, RULE, URN, reconcile_element
from reconciler.domain.model import InvalidDomain
from reconciler.domain.rules import RowVerdict
from reconciler.domain.table import DOMAIN
from reconciler.domain.xml import Node, Report, parse, walk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.domain.model import Problem
    from reconciler.domain.rules import Type


def faults(files: Mapping[str, bytes], schema: etree.RelaxNG) -> tuple[str, ...]:
    """All disagreements, with their files."""
    found = ((file, disagreement(data, file, schema)) for file, data in files.items())
    return tuple(f"{file}: {problem}" for file, problem in found if problem is not None)


def disagreement(data: bytes, file: str, schema: etree.RelaxNG) -> str | None:
    """The disagreement of reader and schema about a file, or None."""
    try:
        root = parse(data, file)
    except InvalidDomain:
        return None  # not XML, so the tables do not apply
    problem = structure(root, file)
    try:
        accepts = schema.validate(root)
    except etree.RelaxNGError:
        return None  # too complex for the validator
    if accepts == (problem is None) or _of_another_version(root):
        return None
    if accepts and any(inexpressible_error(Node(found, rule, Report(file), "")) for found, rule in (
            (root, DOMAIN), *((ours, RULE) for ours in root.iterfind(f"metadata/{RULE.name}")))):
        return None
    if problem is None:
        return f"the reader accepts it, the schema does not: {schema.error_log.last_error}"
    return f"the schema accepts it, the reader does not: {problem}"


def structure(root: etree._Element, file: str) -> Problem | None:
    """The first error in names, counts and single values, which a schema can find, too."""
    report = Report(file)
    domain = Node(root, DOMAIN, report, "domain")
    try:
        walk(domain)
        ours = reconcile_element(domain)
        if ours is not None:
            walk(ours)
    except InvalidDomain as error:
        return error.problems[0]
    return next((problem for problem in report.problems if not problem.warning), None)


def inexpressible_error(node: Node) -> bool:
    """Whether a value below is wrong in a way that the schemas of its type cannot express."""
    values = [(row.type, node.raw.get(name)) for name, row in node.rule.by_attribute.items()
              if row.verdict is RowVerdict.ACCEPT]
    if node.rule.text is not None:
        values.append((node.rule.text, node.raw.text))
    children = (child for name, row in node.rule.by_name.items() if row.verdict is RowVerdict.ACCEPT
                for child in node.children(name))
    return any(value is not None and _wrong(kind, value) for kind, value in values) or any(
        inexpressible_error(child) for child in children)


def _wrong(kind: Type, value: str) -> bool:
    if kind.exact and (kind.words or kind.schemas):
        return False
    try:
        kind.parse(value.strip(" \t\r\n"))
    except ValueError:
        return True
    return False


def _of_another_version(root: etree._Element) -> bool:
    """Whether <metadata> has another version of our namespace: a schema cannot reject them all."""
    return any(str(child.tag).startswith(f"{{{FAMILY}") and not
               str(child.tag).startswith(f"{{{URN}}}")
               for child in root.iterfind("metadata/*"))
