"""Settings for editors name files that are there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lxml import etree

from reconciler.domain.model import Problem

EDITORS = Path(__file__).parents[1] / "contrib/editors"
RULES = "{http://thaiopensource.com/ns/locating-rules/1.0}"


def test_vs_code_finds_the_schema_where_the_page_puts_it():
    page = (EDITORS.parents[1] / "docs/how-to/edit-with-a-schema.md").read_text()
    entry, = json.loads((EDITORS / "vscode/settings.json").read_text())["xml.fileAssociations"]
    assert Path("domains/running.xml").match(entry["pattern"].removeprefix("**/"))
    assert entry["systemId"].removeprefix("${workspaceFolder}/") in page


def test_emacs_finds_the_schema_by_the_root():
    rule = etree.parse(EDITORS / "emacs/schemas.xml").getroot().find(f"{RULES}documentElement")
    assert rule.get("localName") == "domain"
    assert (EDITORS / "emacs" / rule.get("uri")).resolve() == (EDITORS.parent / "domain.rnc")


@pytest.mark.parametrize("warning", [False, True])
def test_vim_is_told_the_form_of_a_problem(warning):
    found = str(Problem("a.xml", 3, "domain", "wrong", warning=warning))
    kind = "%tarning" if warning else "%trror"
    form = (EDITORS / "vim/compiler/reconciler.vim").read_text().replace("\\ ", " ")
    assert f"%f:%l: {kind}: %m" in form
    assert found.startswith(f"a.xml:3: {kind.replace('%t', 'w' if warning else 'e')}: ")
