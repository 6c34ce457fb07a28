"""Runs `git` and `gpg` as child processes: isolated, limited, without a shell.

Isolated: the environment is built from nothing, so no configuration, credential helper, hook or
pager of the host or of a user takes effect. Limited: every run has a timeout, and its whole process
group is killed with it. No shell: git itself starts one for some features (file:// repositories,
GIT_SSH_COMMAND), and these are never used.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MOST = 64 << 20  # bytes of output per run; no honest server causes more
LOCAL_LIMIT = 30.0  # seconds for a run that reads a repository on this disk
_MOST_ERRORS = 64 << 10
_CHUNK = 64 << 10
_KILL_LIMIT = 5.0  # seconds for a killed process to be gone

# No configuration of host or users, no prompt, no program that a repository names.
ISOLATED = {
    "LC_ALL": "C.UTF-8", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": "none",
    "GIT_NO_REPLACE_OBJECTS": "1", "GIT_NO_LAZY_FETCH": "1", "GIT_OPTIONAL_LOCKS": "0",
    "GIT_LITERAL_PATHSPECS": "1"}
# Overrides every configuration file. An empty credential.helper clears the list before it.
CONFIG = (
    ("core.hooksPath", "/dev/null"), ("core.fsmonitor", "false"), ("core.askPass", ""),
    ("core.attributesFile", "/dev/null"), ("core.excludesFile", "/dev/null"),
    ("core.pager", ""), ("credential.helper", ""), ("gc.auto", "0"), ("maintenance.auto", "false"),
    # A download becomes one pack file, so a limit on the file size bounds all of it.
    ("fetch.unpackLimit", "1"), ("fetch.recurseSubmodules", "false"),
    ("fetch.writeCommitGraph", "false"), ("submodule.recurse", "false"),
    ("transfer.bundleURI", "false"), ("protocol.version", "2"), ("log.showSignature", "false"))


@dataclass(frozen=True, slots=True)
class Ran:
    """The result of a run. `cut`: its output exceeded the limit, and it was killed."""

    code: int
    out: bytes
    errors: str
    cut: bool = False


@dataclass(frozen=True, slots=True)
class With:
    """What one run needs beyond the defaults: configuration, environment, input, limits."""

    config: tuple[tuple[str, str], ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    feed: bytes | None = None
    most: int = MOST  # bytes of output
    largest_file: int | None = None  # bytes of the largest file that it may write


PLAIN = With()


class Programs:
    """Runs programs, each for at most `limit` seconds, in a private directory.

    Without `home`, they have no directory to write to: enough to read a repository on this disk.
    """

    def __init__(self, home: Path | None, limit: float) -> None:
        self._home = home
        self._limit = limit
        self._path = os.environ.get("PATH", os.defpath)

    @property
    def home(self) -> Path:
        """The private directory."""
        assert self._home is not None
        return self._home

    def prepare(self) -> None:
        """Create the private directories."""
        for place in (self.home, self.home / "home"):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def run(self, *words: str, extra: With = PLAIN) -> Ran:
        """Run to the end, whatever the exit code.

        Raises SourceError if the program is not installed or times out.
        """
        try:
            child = await asyncio.create_subprocess_exec(
                *words, cwd=self._home or "/", env=self._environment(extra), start_new_session=True,
                stdin=asyncio.subprocess.DEVNULL if extra.feed is None else asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
        except FileNotFoundError as error:
            raise SourceError(f"{words[0]}: no such program on the PATH", reason="FetchFailed",
                              hint=f"install {words[0]}") from error
        ended = False
        try:
            if extra.largest_file is not None:
                with suppress(ProcessLookupError):  # it has ended already
                    resource.prlimit(child.pid, resource.RLIMIT_FSIZE,
                                     (extra.largest_file, extra.largest_file))
            async with asyncio.timeout(self._limit):
                ran = await _talk(child, extra)
            ended = not ran.cut
            return ran
        except TimeoutError:
            raise SourceError(f"{words[0]} timed out after {self._limit:g} s",
                              reason="FetchFailed", hint="source.timeout is the limit"
                              if self._home is not None else "") from None
        finally:
            if not ended:
                await _end(child)

    def _environment(self, extra: With) -> dict[str, str]:
        home = str(self._home / "home") if self._home is not None else "/nonexistent"
        found = {"PATH": self._path, "HOME": home, **ISOLATED, **extra.environment}
        config = (*CONFIG, *extra.config)
        found["GIT_CONFIG_COUNT"] = str(len(config))
        for number, (key, value) in enumerate(config):
            found[f"GIT_CONFIG_KEY_{number}"] = key
            found[f"GIT_CONFIG_VALUE_{number}"] = value
        return found


async def _talk(child: asyncio.subprocess.Process, extra: With) -> Ran:
    """Write its input and read its output, at most `most` bytes."""
    assert child.stdout is not None
    assert child.stderr is not None
    feeding = asyncio.create_task(_feed(child, extra.feed))
    errors = asyncio.create_task(_tail(child.stderr))
    try:
        out, cut = await _read(child.stdout, extra.most)
        if cut:
            return Ran(-signal.SIGKILL, out, "", cut=True)
        said = await errors
        return Ran(await child.wait(), out, said)
    finally:
        for task in (feeding, errors):
            task.cancel()
        await asyncio.gather(feeding, errors, return_exceptions=True)


async def _feed(child: asyncio.subprocess.Process, data: bytes | None) -> None:
    if data is None or child.stdin is None:
        return
    with suppress(ConnectionError):  # it exited early; its exit code says why
        child.stdin.write(data)
        await child.stdin.drain()
    child.stdin.close()


async def _read(stream: asyncio.StreamReader, most: int) -> tuple[bytes, bool]:
    found = bytearray()
    while chunk := await stream.read(_CHUNK):
        found += chunk
        if len(found) > most:
            return bytes(found[:most]), True
    return bytes(found), False


async def _tail(stream: asyncio.StreamReader) -> str:
    found = bytearray()
    while chunk := await stream.read(_CHUNK):
        found += chunk
        del found[:-_MOST_ERRORS]
    return found.decode(errors="replace")


async def _end(child: asyncio.subprocess.Process) -> None:
    """Kill the process group; a process stuck in the kernel is not waited for any longer."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    with suppress(TimeoutError):
        async with asyncio.timeout(_KILL_LIMIT):
            for stream in (child.stdout, child.stderr):
                while stream is not None and await stream.read(_CHUNK):
                    continue  # what was still in the pipe
            await child.wait()
