"""The list of kinds, and what the rest of the program may know of each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reconciler import report
from reconciler.errors import ConfigError
from reconciler.settings import load
from reconciler.settings.sections import SOURCE_KINDS
from reconciler.sources.kinds import KINDS, configured_class
from reconciler.sources.source import Source


def settings(path, source):
    (path / "config.yaml").write_text(f"source: {source}\npaths: {{state: state, runtime: run}}\n")
    return load(path / "config.yaml", {})


STATUS_SCHEMA = Path(report.__file__).with_name("status.schema.json")
CONFIGURED = {"directory": "{kind: directory}",
              "git": "{kind: git, url: 'https://anna:s3cret@example.org/r'}"}


def test_configuration_and_status_know_the_kinds_that_there_are():
    assert set(SOURCE_KINDS) == KINDS.keys() == CONFIGURED.keys()
    status = json.loads(STATUS_SCHEMA.read_bytes())
    assert set(status["properties"]["source"]["properties"]["kind"]["enum"]) == KINDS.keys()


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_is_a_source_and_names_itself(tmp_path, name):
    found = settings(tmp_path, CONFIGURED[name])
    source = KINDS[name](found)
    assert isinstance(source, configured_class(found))
    assert Source in configured_class(found).__mro__
    assert source.describe()["kind"] == name
    assert source.rewind is None
    assert not source.busy
    assert source.answers()
    assert not found.state.exists()  # nothing is done before `start`
    source.stop()


def test_an_unknown_kind_is_refused_with_those_that_there_are(tmp_path):
    with pytest.raises(ConfigError, match="accepted: directory, git"):
        settings(tmp_path, "{kind: gti}")


@pytest.mark.parametrize(("name", "writable", "stale_after"),
                         [("directory", True, None), ("git", False, 180.0)])
def test_what_a_kind_is_capable_of(tmp_path, name, writable, stale_after):
    found = settings(tmp_path, CONFIGURED[name])
    assert configured_class(found).writable is writable
    assert KINDS[name](found).stale_after == stale_after


def test_messages_say_where_the_files_are_without_secrets(tmp_path):
    found = settings(tmp_path, CONFIGURED["git"])
    assert configured_class(found).configured(found) == "git (https://example.org/r, main)"
    found = settings(tmp_path, "{path: vms}")
    assert configured_class(found).configured(found) == str(tmp_path / "vms")
