"""`reconciler VERB` as a process of its own, forked from a server that has imported it already.

Importing takes most of the processor time of a short run, and the tests start a thousand of them.
With RECONCILER_TESTS_EXEC=1 each is a fresh interpreter instead, as for a user.
"""

from __future__ import annotations

import multiprocessing
import os
import pkgutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import reconciler
from reconciler.cli.main import main

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

ROOT = Path(__file__).parents[1]
FRESH = os.environ.get("RECONCILER_TESTS_EXEC") == "1"
# The simulator runs without site packages, in an interpreter of its own; a __main__ runs at import.
PRELOADED = [name for _, name, _ in pkgutil.walk_packages(reconciler.__path__, "reconciler.")
             if not name.startswith("reconciler.simulator") and not name.endswith("__main__")]

_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["__main__", *PRELOADED, __name__])
HERE = multiprocessing.get_context("fork")  # for a test in namespaces of its own


class Forked:
    """The part of subprocess.Popen that the tests use."""

    def __init__(self, words: list[str], env: dict[str, str], stdin: Path, stdout: Path,
                 stderr: Path, context: BaseContext = _context) -> None:
        self.args = words
        # A daemon in the sense of multiprocessing: it is ended with the tests.
        self._process = context.Process(
            target=_run, args=(words, env, str(stdin), str(stdout), str(stderr)), daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()


def start(words: list[str], env: dict[str, str], log: Path,
          context: BaseContext = _context) -> Forked | subprocess.Popen:
    """Run a verb in the background; what it prints is appended to `log`."""
    if not FRESH:
        return Forked(words, env, Path(os.devnull), log, log, context)
    with log.open("ab") as file:
        return subprocess.Popen([sys.executable, "-m", "reconciler", *words], cwd=ROOT, env=env,
                                stdout=file, stderr=file)


def run(words: list[str], env: dict[str, str], limit: float,
        given: str = "", context: BaseContext = _context) -> subprocess.CompletedProcess:
    """Run a verb to its end, as subprocess.run with capture_output and text does."""
    if FRESH:
        return subprocess.run([sys.executable, "-m", "reconciler", *words], cwd=ROOT, env=env,
                              timeout=limit, capture_output=True, text=True, check=False,
                              input=given)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stdin, stdout, stderr = (folder / kind for kind in ("stdin", "stdout", "stderr"))
        stdin.write_text(given)
        child = Forked(words, env, stdin, stdout, stderr, context)
        try:
            code = child.wait(limit)
        except subprocess.TimeoutExpired as error:
            child.kill()
            error.output, error.stderr = stdout.read_bytes(), stderr.read_bytes()
            raise
        return subprocess.CompletedProcess(["reconciler", *words], code, stdout.read_text(),
                                           stderr.read_text())


def _run(words: list[str], env: dict[str, str], stdin: str, stdout: str, stderr: str) -> None:
    """In the child: become what exec would have made of it."""
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    for place, number, flags in ((stdin, 0, os.O_RDONLY), (stdout, 1, _APPEND),
                                 (stderr, 2, _APPEND)):
        opened = os.open(place, flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    sys.argv[:] = ["reconciler", *words]
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  # lives with the process
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace",  # noqa: SIM115
                      buffering=1, closefd=False)
    sys.exit(main(words))
