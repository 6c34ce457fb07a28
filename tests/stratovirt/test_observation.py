"""How an end is told apart, from what a process leaves."""

import pytest

from reconciler.stratovirt.observation import Exit, ExitEvidence, ExitKind, classify

GUEST, QUIT, SIGNAL = "guest-shutdown", "host-qmp-quit", "Guest shutdown by signal 15"


@pytest.mark.parametrize(("traces", "kind"), [
    # We are its parent, and saw the end:
    (ExitEvidence(code=0), ExitKind.POWEROFF),  # x86_64: no event before the connection closes
    (ExitEvidence(code=0, shutdown=GUEST), ExitKind.POWEROFF),
    (ExitEvidence(code=0, shutdown=QUIT), ExitKind.QUIT),
    (ExitEvidence(code=0, shutdown=SIGNAL), ExitKind.TERMINATED),
    (ExitEvidence(code=0, logged_signal=15), ExitKind.TERMINATED),  # nor for this one
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
    # Nobody can say how it ended; the event, or the socket that SIGKILL leaves, can:
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
def test_pain_8_an_end_is_told_by_its_traces(traces, kind):
    assert classify(traces, 1.0, 2.0).kind is kind


def test_an_exit_keeps_when_and_how():
    assert classify(ExitEvidence(code=3, error="no luck"), 7.5, 1.8e9) == Exit(
        ExitKind.CRASHED, 7.5, 3, None, "the process ended with status 3: no luck", 1.8e9)
    assert classify(ExitEvidence(signal=9), 7.5, 1.8e9) == Exit(
        ExitKind.KILLED, 7.5, None, 9, "the process was ended by signal 9", 1.8e9)
