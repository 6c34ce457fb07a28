"""A log that cannot be written holds nothing up, and what was lost is counted."""

import os
import time
from contextlib import closing

import pytest

from reconciler.report.log import event_log
from reconciler.report.log_writer import WAITING, LogWriter

EVENT = {"time": "2026-01-02T03:04:05.678Z", "seq": 3, "event": "domain.started",
         "severity": "info", "domain": "web1"}


def test_rule_8_a_reader_that_stands_still_holds_nothing_up_and_the_loss_is_said():
    reader, writer = os.pipe()
    log = LogWriter(writer)
    line = "x" * 1000 + "\n"
    for _ in range(2 * WAITING):  # the pipe takes 64 KiB
        log.write(line)
    assert log.lost() == 0  # nothing can be said yet
    got = 0
    while got < 1000 * WAITING:
        got += len(os.read(reader, 1 << 16))
    deadline = 1000
    lost = 0
    while not lost and deadline:
        deadline -= 1
        os.set_blocking(reader, False)
        try:
            os.read(reader, 1 << 16)
        except BlockingIOError:
            pass
        lost = log.lost()
    assert 0 < lost <= WAITING
    os.close(reader)
    log.close()
    os.close(writer)


@pytest.mark.parametrize("what", ["full", "closed", "gone"])
def test_rule_2_a_log_that_is_full_closed_or_gone_raises_nothing(what):
    reader, writer = os.pipe()
    descriptor = writer
    if what == "full":
        descriptor = os.open("/dev/full", os.O_WRONLY)
    os.close(reader)
    if what == "closed":
        os.close(writer)
    with closing(LogWriter(descriptor)) as log:
        show = event_log("json", "info", log)
        for _ in range(3):
            show(EVENT)
    for left in {descriptor, writer}:
        if what != "closed":
            os.close(left)


def test_a_name_that_is_no_utf_8_is_written_and_the_loss_of_lines_first(tmp_path):
    path = tmp_path / "log"
    with closing(LogWriter(-1, path)) as log:
        event_log("text", "info", log)({**EVENT, "file": "\udcff.xml"})
    assert "\\xff.xml" in path.read_text(encoding="utf-8")


def test_a_log_that_was_moved_away_is_opened_again(tmp_path):
    path = tmp_path / "log"
    with closing(LogWriter(-1, path)) as log:
        log.write("one\n")
        log.reopen()  # nothing was moved yet
        deadline = time.monotonic() + 30
        while path.read_text() != "one\n" and time.monotonic() < deadline:
            time.sleep(0.001)
        path.rename(tmp_path / "log.1")
        log.reopen()
        log.write("two\n")
    assert path.read_text() == "two\n"
    assert path.stat().st_mode & 0o777 == 0o640 & ~_umask()


def _umask():
    now = os.umask(0)
    os.umask(now)
    return now
