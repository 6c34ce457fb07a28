"""The reconciler is killed, or finds an error of the host, at every step of every action.

Afterwards it converges to what the files say: no domain has two processes, nothing that is kept is
lost, and nothing is left over. RECONCILER_FAILURES=all tries every failure at every step of every
action (`make failpoints`); otherwise each step fails in one action, in two ways.
"""

from __future__ import annotations

import itertools
import os

import pytest

from reconciler.failpoints import KILL, Point
from reconciler.samples import firmware
from tests.host.test_taps import apart, ip
from tests.simulated.failing import PAUSED, RUNNING, STOPPED, Action, Failing
from tests.simulated.network import CARD, InThisNetwork, with_taps
from tests.simulated.site import REAL

pytestmark = pytest.mark.skipif(bool(REAL), reason="faults are the simulator's")

P = Point
ALL = os.environ.get("RECONCILER_FAILURES") == "all"
ERRORS = ("EIO", "ENOSPC", "ETIMEDOUT")
# Between two steps, where nothing can fail but the reconciler as a whole.
KILL_ONLY = frozenset({P.REPORT_END, P.RELEASE, P.ACCEPT, P.APPROVE})
UUID = "<uuid>aaaaaaaa-0000-4000-8000-00000000000{}</uuid>"
CHANNEL = ("<channel type='unix'><source mode='bind'/>"
           "<target type='virtio' name='org.qemu.guest_agent.0'/></channel>")
SECOND = "<disk type='file'><source file='a2.img'/><target dev='vdb' bus='virtio'/></disk>"
WITH_CARD = CARD.format(name="a", number=1)


def nothing(site):
    site.file().unlink(missing_ok=True)
    for path in (site.settings.state / "nvram").glob("*"):
        path.unlink()


def with_variables(site):
    (site.path / "images" / "vars.fd").write_bytes(firmware())
    site.drop(file=".a")
    data = (site.path / "domains" / ".a").read_bytes()
    site.put("a.xml", data.replace(b"</loader>", b"</loader><nvram template='vars.fd'/>"))


def new(site):
    """Another process than before: one that has given a disk back does not get it again."""
    if site.file().exists():
        site.file().unlink()
        site.gone()
    site.drop()


def stubborn(site):
    """A VM that is being started, and that only SIGKILL ends."""
    site.faults({"a": {"never_greets": True, "ignore_sigterm": True}})
    socket = site.settings.runtime / "vms" / "a" / "qmp.sock"
    socket.unlink(missing_ok=True)
    site.drop()
    site.waits(socket.exists)


def three_gone(site):
    for name in "abc":
        site.drop(name)
    for name in "abc":
        site.settled("running", name)
    for name in "abc":
        site.file(name).unlink()


def approve(site):
    approval, = site.until(lambda value: value["approvals"])["approvals"]
    site.verb("approve", approval["token"])


def released(site):
    site.drop()
    site.verb("release", "--all")


def held(site):
    site.drop()
    site.settled("running")
    site.verb("hold", "--all")


def dropped(**values):
    return lambda site: site.drop(**values)


def with_uuid(number, name="a"):
    return dropped(name=name, file="a.xml", head=UUID.format(number))


def has_uuid(number):
    """It has also been read."""
    def begin(site):
        with_uuid(number)(site)
        site.domain(lambda d: f"<uuid>{d['uuid']}</uuid>" == UUID.format(number))

    return begin


def command(*words):
    return lambda site: site.verb(*words)


def removed(site):
    site.file().unlink()


START = (P.CHECK, P.MAKE_DIRECTORY, P.WRITE_DEFINITION, P.NOTE_START, P.LOCK, P.LAUNCH,
         P.NOTE_PROCESS, P.CONNECT, P.NOTE_UP)
STOP = (P.NOTE_STOP, P.REPORT_END, P.RELEASE, P.NOTE_END)
KEPT = (P.RECORD, P.SYNC, P.HISTORY)
ACTIONS = {
    "start": Action((*START, P.MOVE_NVRAM, P.MAKE_NVRAM, *KEPT, P.ACCEPT, P.JOURNAL, P.STATUS),
                    nothing, with_variables, {"a": RUNNING}, {}),
    "pause": Action((P.PAUSE, P.RECORD), dropped(), dropped(state="paused"), {"a": PAUSED}),
    "resume": Action((P.RESUME, P.RECORD), dropped(state="paused"), dropped(), {"a": RUNNING},
                     {"a": PAUSED}),
    "live change": Action((P.NOTE_CHANGE, P.CHANGE, P.WRITE_CHANGED, P.NOTE_CHANGED),
                          new, dropped(devices=SECOND), {"a": RUNNING}),
    "recreate": Action((P.QUIT, *STOP, *START, *KEPT), dropped(), dropped(memory=256),
                       {"a": ("running", 256)}),
    "graceful stop": Action((P.ASK_GUEST, *STOP), dropped(devices=CHANNEL),
                            dropped(state="stopped", devices=CHANNEL), {"a": STOPPED}),
    "stop by a signal": Action((P.SIGTERM, P.SIGKILL, *STOP), stubborn, dropped(state="stopped"),
                               {"a": STOPPED}, None),
    "removal": Action((P.FORGET_VM, P.FORGET_RECORD, P.ARCHIVE, *STOP), dropped(), removed, {}),
    "another name": Action((P.LEAVE_DIRECTORY, *STOP, *START, *KEPT), with_uuid(1),
                           with_uuid(1, "b"), {"b": RUNNING}),
    "another uuid": Action((P.RENAME_RECORD, P.MOVE_HISTORY, P.NOTE_UUID), has_uuid(2),
                           with_uuid(3), {"a": RUNNING}),
    "hold of all": Action((P.HOLD_ALL,), released, command("hold", "--all"), {"a": RUNNING},
                          again=True, held=True),
    "release of all": Action((P.RELEASE_ALL,), held, command("release", "--all"), {"a": RUNNING},
                             None, again=True),
    "approval": Action((P.APPROVE,), three_gone, approve, {}, None, again=True),
}
# These need a network of their own.
TAP_ACTIONS = {
    "start with a tap": Action((P.CREATE_TAP, P.ATTACH_TAP, P.SET_UP_TAP, P.LAUNCH, P.NOTE_UP),
                               nothing, dropped(devices=WITH_CARD), {"a": RUNNING}, {}),
    "removal with a tap": Action((P.REPORT_END, P.RELEASE, P.NOTE_END, P.FORGET_VM),
                                 dropped(devices=WITH_CARD), removed, {}),
    "another card": Action((P.NOTE_TAPS, P.CHANGE, P.NOTE_CHANGED), new, dropped(devices=WITH_CARD),
                           {"a": RUNNING}),
    "tap off its bridge": Action((P.RECONNECT_TAPS,), dropped(devices=WITH_CARD),
                                 lambda _: ip("link", "set", "tap-a", "nomaster"),
                                 {"a": RUNNING}),
}


def cases(actions):
    """The actions, and the points at which each fails; each point once, or all."""
    seen = set()
    for number, (name, action) in enumerate(actions.items()):
        points = action.points if ALL else [p for p in action.points if p not in seen]
        seen.update(points)
        yield pytest.param(action, points, KILL, id=f"{name}-{KILL}")
        for error in ERRORS if ALL else (ERRORS[number % len(ERRORS)],):
            raising = [p for p in points if p not in KILL_ONLY]
            if raising:
                yield pytest.param(action, raising, error, id=f"{name}-{error}")


@pytest.mark.parametrize(("action", "points", "failure"), [*cases(ACTIONS)])
def test_pain_9_rules_1_and_2_hold_at_every_step(tmp_path, action, points, failure):
    fails_at_each(Failing(tmp_path), action, points, failure)


def fails_at_each(site, action, points, failure):
    point = None
    try:
        for point in points:
            site.fails_once(action, point, failure)
        site.kill()
        site.start()
        site.converges(action, rolled_back=True)
    except AssertionError as error:
        error.add_note(f"after {failure} at {point}")
        raise
    finally:
        site.close()


class OnNetwork(InThisNetwork, Failing):
    def __init__(self, path):
        super().__init__(path, program=with_taps(path))


@pytest.mark.parametrize(("action", "points", "failure"), [*cases(TAP_ACTIONS)])
def test_pain_16_rule_5_holds_at_every_step_of_a_tap(tmp_path, action, points, failure):
    apart(lambda: fails_at_each(OnNetwork(tmp_path), action, points, failure))


def test_every_failpoint_is_reached_by_an_action():
    actions = [*ACTIONS.values(), *TAP_ACTIONS.values()]
    assert set(itertools.chain.from_iterable(action.points for action in actions)) == set(Point)
