"""Nothing but git and ssh runs, and nothing that a repository or this host says makes them act."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.sources.git_program import Programs
from reconciler.sources.git_remote import meaning
from tests.sources.gits import LIMIT, SSHD, Site, Sshd, http, spy

ROOT = Path(__file__).parents[2]


def mine(place: Path, name: str) -> tuple[Path, Path]:
    """A program that leaves a trace, and the trace."""
    program, trace = place / name, place / f"{name}.ran"
    program.write_text(f"#!/bin/sh\necho ran >> {trace}\ncat\n")
    program.chmod(0o755)
    return program, trace


async def test_rule_11_a_hostile_repository_runs_nothing(site, upstream, tmp_path):
    program, trace = mine(tmp_path, "evil")
    for key in ("core.fsmonitor", "core.sshCommand", "core.pager", "core.askPass",
                "core.alternateRefsCommand", "uploadpack.packObjectsHook", "filter.lfs.process",
                "filter.lfs.smudge", "filter.lfs.clean", "diff.external", "credential.helper",
                "gpg.program", "gpg.ssh.program"):
        upstream.git("config", key, str(program))
    for hook in (upstream.path / ".git" / "hooks", upstream.path / "hooks"):
        shutil.rmtree(hook, ignore_errors=True)
        hook.mkdir()
        for name in ("post-checkout", "post-merge", "pre-auto-gc", "reference-transaction",
                     "post-update", "pre-receive", "update", "fsmonitor-watchman"):
            shutil.copy(program, hook / name)
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
    hostile = {
        ".gitattributes": "*.xml filter=lfs diff=lfs merge=lfs\n", "domains/lfs.xml": pointer,
        "domains/.gitattributes": "*.xml filter=lfs ident text eol=crlf export-subst\n",
        ".gitmodules": f'[submodule "x"]\n\tpath = x\n\turl = ext::{program}\n'
                       f"\tupdate = !{program}\n",
        ".lfsconfig": f"[lfs]\n\turl = ext::{program}\n", "domains/b.xml": "$Id$\n"}
    for name, text in hostile.items():
        (upstream.path / name).write_text(text)
    for name in hostile:  # past the filters, which would run as this person
        number = upstream.git("hash-object", "-w", "--no-filters", name)
        upstream.git("-c", "core.fsmonitor=false", "update-index", "--add", "--cacheinfo",
                     f"100644,{number},{name}")
    tree = upstream.git("-c", "core.fsmonitor=false", "write-tree")
    tip = upstream.git("commit-tree", tree, "-p", "HEAD", "-m", "hostile")
    (upstream.path / ".git" / "refs" / "heads" / "main").write_text(f"{tip}\n")
    trace.unlink(missing_ok=True)
    source = await site.once(upstream.url)
    assert (await source.look()).files == {  # as they are: no filter, no line ends, no keywords
        "a.xml": b"A", "b.xml": b"$Id$\n", "lfs.xml": pointer.encode()}
    with http(upstream) as (url, _):
        assert len((await (await site.once(url)).look()).files) == 3
    assert not trace.exists()


async def test_rule_11_nothing_of_this_host_takes_part(site, upstream, tmp_path, monkeypatch):
    program, trace = mine(tmp_path, "helper")
    home = tmp_path / "user"
    home.mkdir()
    (home / ".gitconfig").write_text(
        f"[credential]\n\thelper = !{program}\n[core]\n\thooksPath = {home}\n\taskPass = {program}"
        f'\n\tsshCommand = {program}\n[url "file:///nowhere"]\n\tinsteadOf = {upstream.url}\n'
        f"[protocol]\n\tallow = always\n")
    for name, value in {
            "HOME": str(home), "XDG_CONFIG_HOME": str(home), "GIT_SSH_COMMAND": str(program),
            "GIT_ASKPASS": str(program), "SSH_ASKPASS": str(program), "GIT_DIR": str(home),
            "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"), "GIT_EXTERNAL_DIFF": str(program),
            "GIT_PROXY_COMMAND": str(program), "http_proxy": "http://127.0.0.1:1",
            "GIT_TRACE": str(tmp_path / "traced"), "GIT_EXEC_PATH": str(home),
            "GIT_TEMPLATE_DIR": str(home), "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(home)}.items():
        monkeypatch.setenv(name, value)
    with http(upstream, 401) as (url, _):
        source = await site.once([url, upstream.url], auth={"known_hosts": "none"})
    assert (await source.look()).files == {"a.xml": b"A"}
    assert not trace.exists()
    assert not (tmp_path / "traced").exists()


async def test_git_runs_with_our_environment_only(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_OF_OURS", "x")
    programs = Programs(tmp_path / "git", 10)
    programs.prepare()
    ran = await programs.run(sys.executable, "-c", "import json, os; "
                             "print(json.dumps(dict(os.environ)));"
                             "print(os.read(0, 1), os.getpgid(0) == os.getpid())")
    line, rest = ran.out.decode().splitlines()
    found = json.loads(line)
    assert {name for name in found if not name.startswith("GIT_")} == {"PATH", "LC_ALL", "HOME"}
    assert found["HOME"] == str(tmp_path / "git" / "home")
    assert (found["GIT_CONFIG_NOSYSTEM"], found["GIT_CONFIG_GLOBAL"]) == ("1", "/dev/null")
    assert (found["GIT_TERMINAL_PROMPT"], found["GIT_ALLOW_PROTOCOL"]) == ("0", "none")
    config = {found[f"GIT_CONFIG_KEY_{n}"]: found[f"GIT_CONFIG_VALUE_{n}"]
              for n in range(int(found["GIT_CONFIG_COUNT"]))}
    assert (config["core.hooksPath"], config["credential.helper"]) == ("/dev/null", "")
    assert rest == "b'' True"


TRACED = """
import asyncio, sys
from pathlib import Path
from reconciler.settings import load
from reconciler.sources.git import Git

async def main():
    source = Git(load(Path(sys.argv[1]), {}))
    await source.refresh()
    print(sorted((await source.look()).files))

asyncio.run(main())
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace here")
@pytest.mark.parametrize("how", ["file", "http", "ssh"])
def test_rule_11_no_shell_is_ever_executed(upstream, tmp_path, how):
    """git calls its shell by its full path, so only the kernel can show whether one ran.

    git asks a shell for what has a space in it: so has the place of our state.
    """
    site = Site(tmp_path / "a place")
    site.path.mkdir()
    if how == "ssh" and not os.path.exists(SSHD):
        pytest.skip(f"no {SSHD} here")
    if how == "file":
        programs = _traced(site, tmp_path, upstream.url)
    elif how == "http":
        with http(upstream, 401) as (url, _):
            (site.path / "token").write_text("s3cret-t0ken")
            (site.path / "token").chmod(0o600)
            programs = _traced(site, tmp_path, url, auth={"token_file": "token"})
    else:
        with Sshd(tmp_path / "ssh").running() as sshd:
            programs = _traced(site, tmp_path, sshd.url(upstream), auth={
                "ssh_key": "../ssh/anna", "known_hosts": "../ssh/known"})
    assert "git" in programs
    assert {re.sub(r"[\d.]+$", "", name) for name in programs} <= {
        "python", "git", "git-remote-http", "ssh"} | {how}


def _traced(site, tmp_path, url, **source) -> set[str]:
    """The names of all programs that a look executes, by the kernel."""
    site.make(url, **source)
    spies = spy(tmp_path / "bin", "git", "ssh", "ssh-keygen")
    log = tmp_path / "executed"
    done = subprocess.run(
        [shutil.which("strace"), "-f", "-qq", "-e", "trace=execve,execveat", "-o", log,
         sys.executable, "-c", TRACED, site.path / "config.yaml"], cwd=ROOT, timeout=LIMIT,
        env={"PATH": str(spies), "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        check=False)
    if "Operation not permitted" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.stdout == "['a.xml']\n", done.stderr
    assert not (spies / "trace").exists()
    found = re.findall(r'execve(?:at)?\((?:AT_FDCWD, )?"([^"]+)".* = 0$', log.read_text(),
                       re.MULTILINE)
    return {os.path.basename(path) for path in found}


async def test_rule_11_no_shell_is_on_the_way_of_a_look(site, upstream, tmp_path, monkeypatch):
    spies = spy(tmp_path / "bin", "git", "ssh", "ssh-keygen")
    monkeypatch.setenv("PATH", str(spies))
    assert (await (await site.once(upstream.url)).look()).files == {"a.xml": b"A"}
    assert not (spies / "trace").exists()


async def test_what_a_server_says_cannot_act_on_a_terminal(site, upstream, tmp_path):
    assert meaning("fatal: \x1b]0;owned\x07 no\n") == "]0;owned  no"
    assert meaning("remote: x\nfatal: https://anna:pw@host/x: gone\n") == "https://host/x: gone"
    assert meaning("fatal: has s3 in it", ("s3",)) == "has … in it"
    assert len(meaning("x" * 10_000)) == 300


async def test_the_clone_is_private(site, upstream):
    await site.once(upstream.url)
    home = site.path / "state" / "git"
    assert home.stat().st_mode & 0o777 == 0o700
    assert (home / "accepted.json").stat().st_mode & 0o777 == 0o600
    assert not list((home / "home").iterdir())
    assert not (home / "clone" / "hooks").exists()
