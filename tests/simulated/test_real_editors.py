"""The editors and tools themselves, in the watched directory: one start each, no false stop.

What they do to files differs by version and settings; test_editors.py has the cases one by one.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import pwd
import re
import shutil
import subprocess
import time
from contextlib import closing

import pytest

from tests.simulated.site import LIMIT, Site
from tests.simulated.terminal import Terminal
from tests.simulated.test_editors import text

COMMENT = "<!-- means the same -->"
BAD = ("domain.stopping", "domain.invalid", "domain.exited", "domain.recreating", "source.failed",
       "prune.held")


def run(*words, cwd=None, **more):
    subprocess.run([str(word) for word in words], check=True, cwd=cwd, timeout=LIMIT,
                   capture_output=True, **more)


def need(*programs):
    for program in programs:
        if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
            pytest.skip(f"no {program} here")


# Editors, and the edits made with each


class Hand:
    """Makes a.xml of the watched directory, and changes it."""

    def __init__(self, site):
        self.site = site
        self.folder = site.path / "domains"
        self.file = site.file()

    def make(self, data):
        self.put(data)

    def replace(self, old, new):
        self.put(self.file.read_bytes().replace(old.encode(), new.encode()))

    def append(self, more):
        self.put(self.file.read_bytes() + more.encode())

    def put(self, data):
        raise NotImplementedError

    def elsewhere(self, data):
        """A file of this name and contents in a directory that is not watched."""
        place = self.site.path / "elsewhere"
        place.mkdir(exist_ok=True)
        (place / "a.xml").write_bytes(data)
        return place / "a.xml"


class Shell(Hand):
    """A redirection: the file is there, empty, before the first byte comes."""

    def put(self, data):
        run("sh", "-c", 'cat > "$0"', self.file, input=data)


class Copy(Hand):
    def put(self, data):
        run("cp", self.elsewhere(data), self.file)


class Move(Hand):
    def put(self, data):
        run("mv", self.elsewhere(data), self.file)


class Rsync(Hand):
    options = ()

    def put(self, data):
        need("rsync")
        run("rsync", *self.options, f"{self.elsewhere(data).parent}/a.xml", f"{self.folder}/")


class RsyncInPlace(Rsync):
    options = ("--inplace",)


class RsyncMirror(Hand):
    def put(self, data):
        need("rsync")
        run("rsync", "-a", "--delete", f"{self.elsewhere(data).parent}/", f"{self.folder}/")


class Scp(Hand):
    """Through a server of its own, which speaks to this one client and listens nowhere."""

    options = ()

    def __init__(self, site):
        super().__init__(site)
        need("scp", "sshd", "ssh-keygen")
        keys = site.path / "keys"
        keys.mkdir()
        for name in ("host", "user"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", keys / name)
        server = shutil.which("sshd") or "/usr/sbin/sshd"
        (keys / "sshd_config").write_text(
            f"HostKey {keys}/host\nAuthorizedKeysFile {keys}/user.pub\nStrictModes no\n"
            "UsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\nPidFile none\n"
            "Subsystem sftp internal-sftp\n")
        (keys / "ssh_config").write_text(
            f"IdentityFile {keys}/user\nIdentitiesOnly yes\nBatchMode yes\nLogLevel ERROR\n"
            f"StrictHostKeyChecking no\nUserKnownHostsFile {keys}/known\n"
            f"ProxyCommand {server} -i -f {keys}/sshd_config\n")
        self.config = keys / "ssh_config"
        self.ready(server, keys / "sshd_config")

    def ready(self, server, config):
        """As root it wants a directory that its service makes; here it has no service."""
        found = subprocess.run([server, "-t", "-f", config], capture_output=True, text=True,
                               timeout=LIMIT, check=False)
        missing = re.search("Missing privilege separation directory: (.+)", found.stderr)
        if missing and os.geteuid() == 0:
            os.makedirs(missing[1].strip(), mode=0o755, exist_ok=True)

    def put(self, data):
        me = pwd.getpwuid(os.geteuid()).pw_name
        run("scp", *self.options, "-F", self.config, self.elsewhere(data),
            f"{me}@localhost:{self.file}")


class OldScp(Scp):
    options = ("-O",)  # its own protocol, instead of sftp's


class Git(Hand):
    """The watched directory is a clone, as many have it."""

    def __init__(self, site):
        super().__init__(site)
        need("git")
        self.origin = site.path / "origin"
        self.git("init", "-q", "-b", "main", self.origin, cwd=site.path)
        self.git("commit", "-q", "--allow-empty", "-m", "begin", cwd=self.origin)
        self.git("clone", "-q", self.origin, self.folder, cwd=site.path)

    def git(self, *words, cwd=None):
        run("git", "-c", "user.name=a", "-c", "user.email=a@example.org", *words,
            cwd=cwd or self.folder, env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull,
                                         "GIT_CONFIG_SYSTEM": os.devnull})

    def commit(self, data):
        (self.origin / "a.xml").write_bytes(data)
        self.git("add", "a.xml", cwd=self.origin)
        self.git("commit", "-q", "-m", "change", cwd=self.origin)


class Pull(Git):
    def put(self, data):
        self.commit(data)
        self.git("pull", "-q")


class Checkout(Git):
    """Each version is a branch."""

    def put(self, data):
        branch = hashlib.sha256(data).hexdigest()
        self.git("checkout", "-q", "-b", branch, cwd=self.origin)
        self.commit(data)
        self.git("fetch", "-q")
        self.git("checkout", "-q", branch)


class Editor(Hand):
    """On a terminal. The temporary files that it keeps while the file is open are not domains."""

    words: tuple[str, ...]
    beside: tuple[str, ...]  # while something typed is not saved
    leaves: tuple[str, ...] = ()  # from the second time on
    ready = "a.xml"  # a word that it shows once it reads keys
    end, change, save = "", "", ""

    def session(self, keys):
        need(self.words[0])
        home = self.site.path / "home"
        home.mkdir(exist_ok=True)
        before = self.site.events()
        with closing(Terminal([*self.words, "a.xml"], self.folder, home)) as terminal:
            terminal.shows(self.ready)
            terminal.type(keys)
            terminal.until(lambda: all(os.path.lexists(self.folder / name)
                                       for name in self.beside), f"{self.beside}")
            marker = f"m{time.monotonic_ns()}"
            self.site.drop(marker, "stopped")  # one look later
            self.site.settled("absent", marker)
            assert [e for e in self.site.events()[len(before):] if e.get("domain") != marker] == []
            terminal.type(self.save)
            terminal.ends()

    def make(self, data):
        self.session(self.typed(data.decode()))

    def typed(self, words):
        return words.replace("\n", "\r")

    def replace(self, old, new):
        self.session(self.change.format(old=old, new=new))
        self.left()

    def append(self, more):
        self.session(self.end + self.typed(more))
        self.left()

    def left(self):
        found = set(os.listdir(self.folder))
        assert found >= set(self.leaves)
        assert not found & set(self.beside)


class Vim(Editor):
    words = ("vim", "-c", "set backupskip=")  # else it is another program below /tmp
    beside = (".a.xml.swp",)
    change = ":%s/{old}/{new}/\r"
    save = "\x1b:wq\r"

    def typed(self, words):
        return ":set paste\rGA" + super().typed(words)


class VimWithBackups(Vim):
    """The old file becomes the backup, and a new one is made."""

    words = (*Vim.words, "-c", "set backup backupcopy=no")
    leaves = ("a.xml~",)


class Nano(Editor):
    """With locks and backups."""

    words = ("nano", "-I", "-G", "-B")
    ready = "Exit"  # of its last line; keys that come before its first one are lost
    beside = (".a.xml.swp",)
    leaves = ("a.xml~",)
    end = "\x1b/"
    change = "\x1c{old}\r{new}\rA"
    save = "\x0f\r\x18"


class Emacs(Editor):
    """With a lock, an auto-save file, and a backup."""

    # Below /tmp it would make no backups.
    words = ("emacs", "-nw", "-Q", "--eval", "(setq backup-enable-predicate (lambda (_) t))")
    beside = ("#a.xml#", ".#a.xml")
    leaves = ("a.xml~",)
    end = "\x1b>"
    change = "\x1b%{old}\r{new}\r!"
    save = "\x18\x13\x18\x03"

    def session(self, keys):
        super().session(f"{keys}\x1bxdo-auto-save\r")


HANDS = [Shell, Copy, Move, Rsync, RsyncInPlace, RsyncMirror, Scp, OldScp, Pull, Checkout, Vim,
         VimWithBackups, Nano, Emacs]


# What becomes of it


@pytest.fixture
def site(tmp_path):
    """No reconciler runs on it yet."""
    found = Site(tmp_path)
    yield found
    found.close()


def taken(site):
    """The file as it is now is the one in force."""
    revision = f"sha256:{hashlib.sha256(site.file().read_bytes()).hexdigest()[:12]}"
    return site.domain(lambda d: d["revision"] == revision)


def events_of(site):
    return [e["event"] for e in site.events() if e.get("domain") == "a"]


@pytest.mark.parametrize("kind", HANDS, ids=lambda kind: kind.__name__)
def test_it_starts_once_changes_in_place_and_means_the_same(site, kind):
    hand = kind(site)
    site.start()
    site.until(lambda value: value["source"]["lastSync"])
    hand.make(text(site))
    pid = site.settled("running")["observed"]["pid"]
    assert taken(site)["generation"] == 1
    hand.replace("running", "paused")
    assert site.settled("paused")["observed"]["pid"] == pid
    assert taken(site)["generation"] == 2
    before = events_of(site)
    hand.append(f"{COMMENT}\n")
    assert taken(site)["generation"] == 2
    site.drop("z")
    site.settled("running", "z")
    assert COMMENT in site.file().read_text()
    assert site.settled("paused")["observed"]["pid"] == pid
    assert events_of(site) == before
    assert before.count("domain.starting") == 1
    assert site.processes() == [pid]
    assert site.events(*BAD) == []


SETTLE = 1500  # ms


@pytest.mark.parametrize("how", ["rm", "rsync --delete", "git checkout"])
def test_rule_6_a_removed_file_stops_it_after_a_second_listing(tmp_path, how):
    site = Site(tmp_path, env={"RECONCILER_PRUNE__SETTLE": f"{SETTLE}ms"})
    with closing(site):
        hand = {"rm": Copy, "rsync --delete": RsyncMirror, "git checkout": Pull}[how](site)
        site.start()
        hand.make(text(site))
        pid = site.settled("running")["observed"]["pid"]
        begun = time.time()
        if how == "rm":
            run("rm", site.file())
        elif how == "git checkout":
            hand.git("checkout", "-q", "HEAD~")
        else:
            (site.path / "elsewhere" / "a.xml").unlink()
            run("rsync", "-a", "--delete", f"{site.path}/elsewhere/", f"{hand.folder}/")
        assert not site.file().exists()
        site.gone()
        stopping, = site.events("domain.stopping")
        assert stopping["pid"] == pid
        at = datetime.datetime.fromisoformat(stopping["time"]).timestamp()
        assert at - begun >= SETTLE / 1000
        assert site.processes() == []


def test_rule_6_a_branch_without_the_file_and_back_stops_nothing(tmp_path):
    site = Site(tmp_path, env={"RECONCILER_PRUNE__SETTLE": "10m"})
    with closing(site):
        hand = Pull(site)
        site.start()
        hand.make(text(site))
        pid = site.settled("running")["observed"]["pid"]
        for turn in range(3):
            hand.git("checkout", "-q", "HEAD~")
            assert not site.file().exists()
            site.drop(f"y{turn}", "stopped")  # it is seen that the file is not there
            site.settled("absent", f"y{turn}")
            hand.git("checkout", "-q", "main")
            site.drop(f"z{turn}", "stopped")
            site.settled("absent", f"z{turn}")
        assert site.settled("running")["observed"]["pid"] == pid
        assert site.processes() == [pid]
        assert events_of(site).count("domain.starting") == 1
        assert site.events(*BAD) == []
