"""schema: what a file may hold, for editors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lxml import etree

from reconciler.cli.main import main

ROOT = Path(__file__).parents[2]


def test_the_schema_of_domain_files_is_contribs(capsys):
    assert main(["schema", "xml"]) == 0
    out = capsys.readouterr().out
    assert out == (ROOT / "contrib/domain.rng").read_text()
    assert etree.RelaxNG(etree.fromstring(out.encode())).validate(
        etree.parse(ROOT / "domains/running.xml"))


def test_the_schema_of_the_status_is_contribs(capsys):
    assert main(["schema", "status"]) == 0
    out = capsys.readouterr().out
    assert json.loads(out)["title"].startswith("status.json")
    assert out == (ROOT / "contrib/status.schema.json").read_text()


@pytest.mark.parametrize("kind", ["xml", "xml-compact", "status", "config"])
def test_no_configuration_is_needed(idle, kind):
    idle.config.unlink()
    done = idle.verb("schema", kind)
    assert (done.returncode, done.stderr) == (0, "")
    assert "reconciler" in done.stdout


def test_the_schema_of_the_configuration_is_contribs(capsys):
    assert main(["schema", "config"]) == 0
    assert capsys.readouterr().out == (ROOT / "contrib/config.schema.json").read_text()


def test_another_kind_names_those_there_are(idle):
    done = idle.verb("schema", "pdf")
    assert done.returncode == 2
    assert "xml" in done.stderr
