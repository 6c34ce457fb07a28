"""How an end is told apart, from what a process leaves."""

import pytest

from reconciler.stratovirt.observation import Exit, ExitKind, Traces, classify

GUEST, QUIT, SIGNAL = "guest-shutdown", "host-qmp-quit", "Guest shutdown by signal 15"


@pytest.mark.parametrize(("traces", "kind"), [
    # We are its parent, and saw the end:
    (Traces(code=0), ExitKind.POWEROFF),  # x86_64: no event before the connection closes
    (Traces(code=0, shutdown=GUEST), ExitKind.POWEROFF),
    (Traces(code=0, shutdown=QUIT), ExitKind.ASKED),
    (Traces(code=0, shutdown=SIGNAL), ExitKind.TERMINATED),
    (Traces(code=0, ended_by=15), ExitKind.TERMINATED),  # nor for this one
    (Traces(code=0, shutdown=QUIT, ended_by=15), ExitKind.ASKED),
    (Traces(signal=9, ended_by=15), ExitKind.KILLED),
    (Traces(code=1), ExitKind.CRASHED),
    (Traces(code=101, shutdown=GUEST), ExitKind.CRASHED),
    (Traces(signal=9, socket_left=True), ExitKind.KILLED),
    (Traces(signal=31, shutdown=QUIT), ExitKind.KILLED),
    (Traces(signal=9, socket_left=True, out_of_memory=True), ExitKind.OUT_OF_MEMORY),
    (Traces(code=0, panicked=True), ExitKind.PANIC),
    (Traces(code=0, shutdown=GUEST, panicked=True), ExitKind.PANIC),
    (Traces(code=0, shutdown=QUIT, panicked=True), ExitKind.ASKED),
    (Traces(code=1, panicked=True), ExitKind.CRASHED),
    (Traces(signal=9, socket_left=True, panicked=True), ExitKind.KILLED),
    # Nobody can say how it ended; the event, or the socket that SIGKILL leaves, can:
    (Traces(shutdown=QUIT), ExitKind.ASKED),
    (Traces(shutdown=SIGNAL), ExitKind.TERMINATED),
    (Traces(shutdown=GUEST, socket_left=True), ExitKind.POWEROFF),
    (Traces(socket_left=True), ExitKind.KILLED),
    (Traces(ended_by=1), ExitKind.TERMINATED),
    (Traces(), ExitKind.POWEROFF),
    (Traces(socket_left=True, out_of_memory=True), ExitKind.OUT_OF_MEMORY),
    (Traces(socket_left=True, panicked=True), ExitKind.KILLED),
    (Traces(panicked=True), ExitKind.PANIC),
], ids=str)
def test_pain_8_an_end_is_told_by_its_traces(traces, kind):
    assert classify(traces, 1.0, 2.0).kind is kind


def test_an_exit_keeps_when_and_how():
    assert classify(Traces(code=3, last_words="no luck"), 7.5, 1.8e9) == Exit(
        ExitKind.CRASHED, 7.5, 3, None, "the process ended with status 3: no luck", 1.8e9)
    assert classify(Traces(signal=9), 7.5, 1.8e9) == Exit(
        ExitKind.KILLED, 7.5, None, 9, "the process was ended by signal 9", 1.8e9)
