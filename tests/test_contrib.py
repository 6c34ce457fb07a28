"""What is in contrib works: settings for editors, hooks, CI."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from lxml import etree

from reconciler.cli.main import parser
from reconciler.domain.model import Problem
from reconciler.host.systemd import Watchdog
from reconciler.settings.sections import Reconcile
from tests.values import xml

ROOT = Path(__file__).parents[1]
EDITORS = ROOT / "contrib/editors"
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
def test_vims_errorformat_matches_our_messages(warning):
    found = str(Problem("a.xml", 3, "domain", "wrong", warning=warning))
    kind = "%tarning" if warning else "%trror"
    form = (EDITORS / "vim/compiler/reconciler.vim").read_text().replace("\\ ", " ")
    assert f"%f:%l: {kind}: %m" in form
    assert found.startswith(f"a.xml:3: {kind.replace('%t', 'w' if warning else 'e')}: ")


# systemd


def test_pain_9_pain_13_the_unit_leaves_vms_alone_and_wants_to_hear_that_we_live():
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str
    unit.read(ROOT / "contrib/stratovirt-reconciler.service")
    service = unit["Service"]
    assert service["KillMode"] == "process"
    assert service["Restart"] == "on-failure"
    watchdog = Watchdog.of({"NOTIFY_SOCKET": "/run/systemd/notify",
                            "WATCHDOG_USEC": f"{int(service['WatchdogSec'])}000000"})
    assert service["NotifyAccess"] == "main"
    assert watchdog.interval > Reconcile().heartbeat  # a late heartbeat must not count as a hang


# Hooks and CI


def commands(text):
    """Every call of the reconciler in a file of shell or YAML, as words."""
    for line in text.splitlines():
        found = re.search(r"(?:^|[-:] |  )reconciler ((?:-c|validate|plan).*)", line)
        if found:
            words = shlex.split(found[1].partition(" >")[0].partition("||")[0], comments=True)
            yield [word.replace("$DIRECTORY", "domains") for word in words]


@pytest.mark.parametrize(("file", "verbs"), [
    ("contrib/ci/github-actions.yml", {"validate", "plan"}),
    ("contrib/ci/gitlab-ci.yml", {"validate", "plan"}),
    (".pre-commit-hooks.yaml", {"validate"})])
def test_ci_uses_only_verbs_and_options_that_there_are(file, verbs):
    text = (ROOT / file).read_text()
    assert yaml.safe_load(text)
    found = [parser().parse_args(words) for words in commands(text)]
    assert {options.verb for options in found} == verbs
    assert len(found) == text.count("reconciler validate") + text.count("reconciler -c")


def test_the_hook_of_the_framework_runs_without_a_file(tmp_path):
    hook, = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert hook["pass_filenames"] is False
    assert re.search(hook["files"], "domains/a.xml")
    assert hook["entry"].startswith("reconciler ")


@pytest.fixture
def repository(tmp_path):
    """One with the hook, and a program `reconciler` that is this one."""
    program = tmp_path / "reconciler"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m reconciler "$@"\n')
    program.chmod(0o755)
    path = tmp_path / "r"
    (path / "domains").mkdir(parents=True)

    def git(*words, check=True):
        return subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", str(path), *words],
            check=check, capture_output=True, text=True,
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"})

    git("init", "-q", "-b", "main")
    shutil.copy(ROOT / "contrib/git-hooks/pre-commit", path / ".git/hooks/pre-commit")
    return path, git


def test_the_hook_checks_what_is_staged_and_not_the_work_tree(repository):
    path, git = repository
    file = path / "domains/a b.xml"
    file.write_bytes(b"<domain>")
    git("add", "-A")
    done = git("commit", "-m", "x", check=False)
    assert done.returncode != 0
    assert "domains/a b.xml:1: error:" in done.stdout + done.stderr
    file.write_bytes(xml("a"))
    assert git("commit", "-m", "x", check=False).returncode != 0  # what is staged is still wrong
    git("add", "-A")
    file.write_bytes(b"<domain>")
    assert git("commit", "-m", "x", check=False).returncode == 0  # and now it is right
    (path / "other").touch()
    git("add", "other")
    assert git("commit", "-m", "y").returncode == 0
    git("rm", "-q", "-f", "domains/a b.xml")
    assert "nothing to validate" in git("commit", "-m", "z").stderr


def test_the_hook_goes_by_what_git_is_configured_with(repository):
    path, git = repository
    git("config", "reconciler.directory", "vms")
    git("config", "reconciler.config", "etc/c.yaml")
    git("config", "reconciler.options", "--strict")
    for name in ("vms", "etc"):
        (path / name).mkdir()
    (path / "etc/c.yaml").write_text("admission: {max_memory: 64MiB}\n")
    (path / "vms/a.xml").write_bytes(xml("a"))
    (path / "domains/b.xml").write_bytes(b"<domain>")
    git("add", "-A")
    assert "accepted: up to 64 MiB" in git("commit", "-m", "x", check=False).stderr
    (path / "etc/c.yaml").write_text("")
    (path / "vms/note.txt").touch()
    git("add", "-A")
    assert "warning: ignored: " in git("commit", "-m", "x", check=False).stderr
    git("rm", "-q", "-f", "vms/note.txt")
    assert git("commit", "-m", "x", check=False).returncode == 0


def test_the_hook_needs_the_program(repository):
    path, git = repository
    git("config", "reconciler.program", "/nonexistent/reconciler")
    (path / "domains/a.xml").write_bytes(xml("a"))
    git("add", "-A")
    done = git("commit", "-m", "x", check=False)
    assert done.returncode != 0
    assert "not found; install it" in done.stderr
