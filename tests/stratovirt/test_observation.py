"""The classification of a VM's end, and the choice of its main console: tables without I/O."""

import pytest

from reconciler.errors import QmpError
from reconciler.stratovirt.observation import (
    Exit,
    ExitEvidence,
    ExitKind,
    classify,
    main_console,
    ptys,
)

GUEST, QUIT, SIGNAL = "guest-shutdown", "host-qmp-quit", "Guest shutdown by signal 15"


@pytest.mark.parametrize(("evidence", "kind"), [
    # The process was our child: exit code or signal are known.
    (ExitEvidence(code=0), ExitKind.POWEROFF),  # x86_64: no event before the connection closes
    (ExitEvidence(code=0, shutdown=GUEST), ExitKind.POWEROFF),
    (ExitEvidence(code=0, shutdown=QUIT), ExitKind.QUIT),
    (ExitEvidence(code=0, shutdown=SIGNAL), ExitKind.TERMINATED),
    (ExitEvidence(code=0, logged_signal=15), ExitKind.TERMINATED),  # also without an event
    (ExitEvidence(code=0, shutdown=QUIT, logged_signal=15), ExitKind.QUIT),
    (ExitEvidence(signal=9, logged_signal=15), ExitKind.KILLED),
    (ExitEvidence(code=1), ExitKind.CRASHED),
    (ExitEvidence(code=101, shutdown=GUEST), ExitKind.CRASHED),
    (ExitEvidence(signal=9, socket_left=True), ExitKind.KILLED),
    (ExitEvidence(signal=31, shutdown=QUIT), ExitKind.KILLED),
    (ExitEvidence(signal=9, socket_left=True, out_of_memory=True), ExitKind.OUT_OF_MEMORY),
    (ExitEvidence(code=0, panicked=True), ExitKind.PANIC),
    (ExitEvidence(code=0, shutdown=GUEST, panicked=True), ExitKind.PANIC),
    (ExitEvidence(code=0, shutdown=QUIT, panicked=True), ExitKind.QUIT),
    (ExitEvidence(code=1, panicked=True), ExitKind.CRASHED),
    (ExitEvidence(signal=9, socket_left=True, panicked=True), ExitKind.KILLED),
    # Not our child: only events, the log and a leftover socket show how it ended.
    (ExitEvidence(shutdown=QUIT), ExitKind.QUIT),
    (ExitEvidence(shutdown=SIGNAL), ExitKind.TERMINATED),
    (ExitEvidence(shutdown=GUEST, socket_left=True), ExitKind.POWEROFF),
    (ExitEvidence(socket_left=True), ExitKind.KILLED),
    (ExitEvidence(logged_signal=1), ExitKind.TERMINATED),
    (ExitEvidence(), ExitKind.POWEROFF),
    (ExitEvidence(socket_left=True, out_of_memory=True), ExitKind.OUT_OF_MEMORY),
    (ExitEvidence(socket_left=True, panicked=True), ExitKind.KILLED),
    (ExitEvidence(panicked=True), ExitKind.PANIC),
], ids=str)
def test_an_end_is_classified_by_its_evidence(evidence, kind):
    assert classify(evidence, 1.0, 2.0).kind is kind


@pytest.mark.parametrize(("evidence", "message"), [
    (ExitEvidence(code=3, error="no luck"), "the process exited with status 3: no luck"),
    (ExitEvidence(signal=9), "the process was killed by signal 9"),
    (ExitEvidence(signal=9, out_of_memory=True), "killed by the kernel (out of memory)"),
    (ExitEvidence(code=0, shutdown=QUIT), "another QMP client sent quit"),
    (ExitEvidence(code=0, logged_signal=15), "its process was sent signal 15 by another process"),
    (ExitEvidence(code=0, shutdown=SIGNAL), "its process was sent a signal by another process"),
    (ExitEvidence(socket_left=True), "was killed or crashed while the reconciler was not running"),
    (ExitEvidence(), "ended cleanly while the reconciler was not running"),
    (ExitEvidence(code=0), "the guest powered off"),
    (ExitEvidence(code=0, panicked=True), "the guest panicked")], ids=str)
def test_the_message_names_who_ended_the_vm(evidence, message):
    assert classify(evidence, 1.0, 2.0).message == message


def test_an_exit_keeps_code_signal_and_times():
    assert classify(ExitEvidence(code=3, error="no luck"), 7.5, 1.8e9) == Exit(
        ExitKind.CRASHED, 7.5, 3, None, "the process exited with status 3: no luck", 1.8e9)


@pytest.mark.parametrize(("consoles", "path"), [
    ({}, None), ({"serial_chardev": "/s"}, "/s"),
    ({"serial_chardev": "/s", "charconsole0": "/c0"}, "/c0"),
    ({"charconsole1": "/c1", "charconsole0": "/c0"}, "/c0"),
    ({"charconsole10": "/c10", "charconsole2": "/c2"}, "/c2")], ids=str)
def test_the_main_console_is_the_one_with_the_lowest_number(consoles, path):
    assert main_console(consoles) == path


def test_ptys_are_taken_from_query_chardev():
    assert ptys([{"label": "charconsole0", "filename": "pty:/dev/pts/1"}, {"label": "x"}, 3,
                 {"label": "f", "filename": "file:/x"}]) == {"charconsole0": "/dev/pts/1"}
    with pytest.raises(QmpError, match="query-chardev returned"):
        ptys({})
