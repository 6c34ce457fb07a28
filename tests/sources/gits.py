"""A repository to watch, the real servers that serve it, and a source that watches it."""

from __future__ import annotations

import asyncio
import base64
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from reconciler.errors import SourceError
from reconciler.settings import load
from reconciler.sources.git import Git

LIMIT = 30.0
TOKEN = "s3cret-t0ken"
SSHD = "/usr/sbin/sshd"
CLEAN = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1",
         "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_NAME": "Anna", "LC_ALL": "C",
         "GIT_AUTHOR_EMAIL": "anna@example.org", "GIT_COMMITTER_NAME": "Anna",
         "GIT_COMMITTER_EMAIL": "anna@example.org"}


def git(where: Path, *words: str, feed: bytes | None = None, **environment: str) -> str:
    done = subprocess.run(["git", "-C", str(where), *words], env={**CLEAN, **environment},
                          capture_output=True, check=False, timeout=LIMIT, input=feed)
    assert done.returncode == 0, (words, done.stderr.decode())
    return done.stdout.decode().strip()


class Upstream:
    """A repository with a work tree, as a person has it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)
        git(path, "init", "-q", "-b", "main")
        (path / "domains").mkdir()

    @property
    def url(self) -> str:
        return f"file://{self.path}"

    def git(self, *words: str, **environment: str) -> str:
        return git(self.path, *words, **environment)

    def commit(self, files: dict[str, str | bytes | None], *words: str, **environment: str) -> str:
        """Write these files (None takes one away) and commit; the commit."""
        for name, text in files.items():
            file = self.path / name
            if text is None:
                file.unlink()
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text if isinstance(text, bytes) else text.encode())
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "change", *words, **environment)
        return self.tip

    @property
    def tip(self) -> str:
        return self.git("rev-parse", "HEAD")


class Site:
    """A configuration, and sources made of it one after the other, as over restarts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.wakes = 0
        self._woken = asyncio.Event()

    def make(self, url: str | list[str], **source: object) -> Git:
        more = {"interval": "1h", **source}
        (self.path / "config.yaml").write_text(yaml.safe_dump({
            "source": {"kind": "git", "url": url, **more},
            "paths": {"state": "state", "runtime": "run"}, "reconcile": {"jitter": "0%"}}))
        return Git(load(self.path / "config.yaml", {}))

    def wake(self, _delay: float) -> None:
        self.wakes += 1
        self._woken.set()

    @asynccontextmanager
    async def running(self, url: str | list[str], **source: object):
        found = self.make(url, **source)
        self._woken = asyncio.Event()
        found.start(self.wake)
        task = asyncio.create_task(found.run())
        try:
            await self.until(lambda: found.describe()["lastAttempt"], found)
            found.ask()
            await self.until_seen(lambda _: not found.busy, found)
            yield found
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            found.stop()

    async def until(self, true, source: Git) -> None:
        async with asyncio.timeout(LIMIT):
            while not true():
                await self._woken.wait()
                self._woken.clear()

    async def until_seen(self, true, source: Git) -> None:
        """Until a look delivers what is wanted; None where it raises."""
        async with asyncio.timeout(LIMIT):
            while True:
                seen = None
                with suppress(SourceError):
                    seen = await source.look()
                if true(seen):
                    return
                await self._woken.wait()
                self._woken.clear()

    async def asked(self, source: Git):
        """The listing with the outcome of an `ask`."""
        source.ask()
        await self.until_seen(lambda _: not source.busy, source)
        return await source.look()

    async def once(self, url: str | list[str], **source: object) -> Git:
        """As `run --once` does it."""
        found = self.make(url, **source)
        await found.refresh()
        return found


async def refusal(source: Git) -> SourceError:
    """Why there is no listing."""
    with pytest.raises(SourceError) as found:
        await source.look()
    return found.value


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def silent():
    """A port that accepts connections and never answers."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        found.listen()
        yield found.getsockname()[1]


def reachable(port: int, child: subprocess.Popen) -> None:
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        assert child.poll() is None, child.returncode
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        os.sched_yield()
    raise AssertionError(f"nothing at port {port}")


@contextmanager
def serving(*words: str, port: int):
    child = subprocess.Popen(words, env=CLEAN, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        reachable(port, child)
        yield child
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait(LIMIT)


@contextmanager
def daemon(upstream: Upstream, port: int | None = None):
    """`git daemon`; its url."""
    port = port or free_port()
    with serving("git", "daemon", "--listen=127.0.0.1", f"--port={port}", "--export-all",
                 "--reuseaddr", f"--base-path={upstream.path.parent}", port=port):
        yield f"git://127.0.0.1:{port}/{upstream.path.name}"


class _Backend(BaseHTTPRequestHandler):
    """`git http-backend` as CGI, with a token."""

    def do_GET(self) -> None:
        self.server.requests.append(dict(self.headers))
        wanted = "Basic " + base64.b64encode(f"git:{TOKEN}".encode()).decode()
        if self.server.locked and self.headers.get("Authorization") != wanted:
            self.send_response(self.server.locked)
            if self.server.locked == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.server.moved:
            self.send_response(301)
            self.send_header("Location", self.server.moved + self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        done = subprocess.run(["git", "http-backend"], input=body, capture_output=True,
                              check=False, timeout=LIMIT, env={
            **CLEAN, "GIT_PROJECT_ROOT": str(self.server.root), "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""), "REMOTE_ADDR": "127.0.0.1",
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", "")})
        head, _, rest = done.stdout.partition(b"\r\n\r\n")
        lines = [line.split(": ", 1) for line in head.decode().split("\r\n") if line]
        self.send_response(next((int(v.split()[0]) for k, v in lines if k == "Status"), 200))
        for key, value in lines:
            self.send_header(key, value)
        self.end_headers()
        if self.server.cut is not None and b"PACK" in rest:
            rest = rest[:rest.index(b"PACK") + self.server.cut]
        self.wfile.write(rest)

    do_POST = do_GET

    def log_message(self, *_words) -> None:
        pass


@contextmanager
def http(upstream: Upstream, locked: int = 0, moved: str = ""):
    """An http server; its url, and the server with the `requests` it had."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Backend)
    server.daemon_threads = False
    server.root, server.locked, server.requests = upstream.path.parent, locked, []
    server.moved, server.cut = moved, None  # cut: so many bytes of a pack, and then it hangs up
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/{upstream.path.name}/.git", server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Sshd:
    """An sshd with a host key of its own, which lets one key in."""

    def __init__(self, path: Path) -> None:
        self.port = free_port()
        path.mkdir()
        for name in ("host", "anna", "stranger"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path / name],
                           check=True, timeout=LIMIT)
        self.path = path
        shutil.copy(path / "anna.pub", path / "authorized")
        host = " ".join((path / "host.pub").read_text().split()[:2])
        other = " ".join((path / "stranger.pub").read_text().split()[:2])
        (path / "known").write_text(f"[127.0.0.1]:{self.port} {host}\n")
        (path / "unknown").write_text("")
        (path / "changed").write_text(f"[127.0.0.1]:{self.port} {other}\n")
        (path / "config").write_text(f"""
ListenAddress 127.0.0.1:{self.port}
HostKey {path}/host
AuthorizedKeysFile {path}/authorized
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
""")

    def url(self, upstream: Upstream) -> str:
        user = pwd.getpwuid(os.geteuid()).pw_name
        return f"ssh://{user}@127.0.0.1:{self.port}{upstream.path}"

    @contextmanager
    def running(self):
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        with serving(SSHD, "-D", "-f", str(self.path / "config"), port=self.port):
            yield self


def spy(place: Path, *names: str) -> Path:
    """A directory for the PATH: these programs, and a shell that leaves a trace."""
    place.mkdir()
    for name in names:
        found = shutil.which(name)
        if found is not None:
            (place / name).symlink_to(found)
    for shell in ("sh", "bash", "dash"):
        (place / shell).write_text(f"#!{sys.executable} -IS\nopen({str(place / 'trace')!r}, 'a')"
                                   ".write('a shell ran')\n")
        (place / shell).chmod(0o755)
    return place


def older(reaching):
    """Access.reaching with the protocol that an sshd leaves which passes no environment on."""
    def reach(self, remote):
        found = reaching(self, remote)
        del found.environment["GIT_PROTOCOL"]
        return found
    return reach
