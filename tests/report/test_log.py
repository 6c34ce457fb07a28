"""The log's two forms, line by line."""

import os
import pty
from contextlib import closing

import pytest

from reconciler.report.log import event_log
from reconciler.report.log_writer import LogWriter

EVENTS = (
    {"time": "2026-01-02T03:04:05.678Z", "seq": 3, "event": "domain.started", "severity": "info",
     "domain": "web1", "uuid": "u-1", "durationMs": 3.5, "revision": f"main@sha1:{'0123' * 10}"},
    {"time": "2026-01-02T03:04:05.679Z", "seq": 4, "event": "wait.ended", "severity": "debug"},
    {"time": "2026-01-02T03:04:05.680Z", "seq": 5, "event": "domain.invalid", "severity": "error",
     "message": "a\nb", "file": "é.xml"})
JSON = (
    ('{"time": "2026-01-02T03:04:05.678Z", "severity": "info", "event": "domain.started", '
     '"domain": "web1", "seq": 3, "uuid": "u-1", "durationMs": 3.5, '
     f'"revision": "main@sha1:{"0123" * 10}"}}'),
    '{"time": "2026-01-02T03:04:05.679Z", "severity": "debug", "event": "wait.ended", "seq": 4}',
    ('{"time": "2026-01-02T03:04:05.680Z", "severity": "error", "event": "domain.invalid", '
     '"seq": 5, "message": "a\\nb", "file": "\\u00e9.xml"}'))
TEXT = (
    ("2026-01-02T03:04:05.678Z [info     ] domain.started                 domain=web1 "
     "durationMs=3.5 revision=main@012301230123"),
    "2026-01-02T03:04:05.679Z [debug    ] wait.ended",
    ("2026-01-02T03:04:05.680Z [error    ] domain.invalid                 "
     "message='a\\nb' file=é.xml"))


def logged(path, form, level="debug"):
    with closing(LogWriter(-1, path)) as stream:
        log = event_log(form, level, stream)
        for event in EVENTS:
            log(event)
    return path.read_text().splitlines()


@pytest.mark.parametrize(("form", "lines"), [("json", JSON), ("auto", JSON), ("text", TEXT)])
def test_an_event_is_one_line(tmp_path, form, lines):
    assert [line.rstrip() for line in logged(tmp_path / "log", form)] == list(lines)


@pytest.mark.parametrize(("level", "most"), [
    ("debug", [3, 4, 5]), ("info", [3, 5]), ("warning", [5]), ("error", [5])])
def test_events_below_the_level_are_left_out(tmp_path, level, most):
    lines = [JSON[number - 3] for number in most]
    assert logged(tmp_path / "log", "json", level) == lines


def test_an_event_is_not_changed_by_being_logged(tmp_path):
    before = [dict(event) for event in EVENTS]
    logged(tmp_path / "log", "text")
    assert [dict(event) for event in EVENTS] == before


def test_on_a_terminal_auto_is_text_in_colour():
    screen, terminal = pty.openpty()
    try:
        with closing(LogWriter(terminal)) as stream:
            event_log("auto", "info", stream)(EVENTS[0])
            shown = os.read(screen, 4096)
    finally:
        os.close(screen)
        os.close(terminal)
    assert b"\x1b[" in shown
    assert b"domain.started" in shown
    assert b"{" not in shown
