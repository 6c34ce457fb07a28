"""What a file name, a file or a process of any user says is never obeyed by a user's terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys

import pytest

from tests.simulated.site import Site

TITLE = "\033]0;owned\007"
NAMES = [f"{TITLE}x.xml".encode(), "\u202etxt.xml".encode(), b"\xff\xfe.xml", "\x9b2J.xml".encode()]
# Own sequences: colours, and clearing the screen or the line.
OURS = re.compile(rb"\033\[(0|1|2|31|32|33|34)m|\033\[2J\033\[H|\033\[K")
HARMFUL = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x9f\u202a-\u202e\u2066-\u2069]")
VERBS = [("status",), ("status", "-o", "wide"), ("events",), ("events", "-o", "text"), ("plan",),
         ("plan", "-o", "markdown"), ("explain", "a"), ("explain", "a", "--xml"),
         ("validate", "--all"), ("history", "a"), ("status", TITLE),
         ("history", "a", "--show", "1")]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("site"))
    for name in NAMES:
        with open(os.path.join(os.fsencode(site.path / "domains"), name), "wb") as file:
            file.write(b"<domain>")
    site.drop(head="<title>\u202e\u009b2J</title>")
    with subprocess.Popen(["stratovirt", "-c", "sleep 600; true", "-name", f"{TITLE}vm", "-qmp",
                           "unix:/nowhere/x,server,nowait"], executable="/bin/sh") as other:
        try:
            site.start()
            site.settled("running")
            yield site
        finally:
            other.kill()
            site.close()


@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii:strict"])
@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_no_verb_writes_what_a_terminal_obeys_and_none_ends_by_a_name(hostile, words, encoding):
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-m", "reconciler", *hostile.words(*words)],
                          stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL,
                          env={**os.environ, "PYTHONIOENCODING": encoding}) as done:
        os.close(theirs)
        out = b""
        while select.select([ours], [], [], 60)[0]:
            try:
                out += os.read(ours, 65536)
            except OSError:
                break
    os.close(ours)
    assert done.returncode in (0, 1, 2)
    assert b"Traceback" not in out
    text = OURS.sub(b"", out.replace(b"\r\n", b"\n")).decode(encoding.partition(":")[0])
    assert HARMFUL.findall(text) == []


def test_a_document_in_a_pipe_is_exact(hostile):
    words = [sys.executable, "-m", "reconciler", *hostile.words("explain", "a", "--xml")]
    done = subprocess.run(words, capture_output=True, check=True)
    assert "\u202e\u009b2J" in done.stdout.decode()
