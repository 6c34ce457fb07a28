"""What is observed of a VM, its exits and its guest's health: what they change, what follows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.domain.place import Place
from reconciler.domain.policy import DesiredState, Health, Probe
from reconciler.engine.decide.events import (
    Adopted,
    ConsolesFound,
    DeviceRemoved,
    ExitFound,
    GuestRebooted,
    Observed,
    Priority,
    Probed,
    ProbingRestarted,
    ProcessEnded,
    RunningFound,
    Wake,
)
from reconciler.engine.decide.inputs import (
    Attempts,
    DeferredChange,
    Exit,
    ExitKind,
    HealthStatus,
    ProbeResult,
    RetryState,
    VmState,
)
from reconciler.engine.decide.state import DomainRecord, ProcessInfo
from reconciler.engine.decide.transition import transition
from tests.engine.decide.states import (
    ABSENT,
    BOOT,
    LATER,
    NEW,
    OLD,
    PAUSED,
    RUNS,
    UNKNOWN,
    known,
    report,
    running,
    with_attempts,
    with_record,
)
from tests.values import NOW, domain

HEALTH = Health(Probe.TCP, "a:1")
AGAIN = replace(HEALTH, restart=True)
UNPROBED = ProbeResult()
HEALTHY = ProbeResult(HealthStatus.HEALTHY, 0, "")
ILL = ProbeResult(HealthStatus.UNHEALTHY, 3, "connection refused")
EXIT = Wake(Priority.EXIT)
KILL = Exit(ExitKind.KILLED, NOW.clock, None, 9, "killed by signal 9", NOW.wall)
COUNTED = RetryState((NOW.clock,), 1, NOW.clock, "Killed",
                     "killed by signal 9; 1 such exits within the window")
FAILING = RetryState((1.0,), 2, 2000.0, "StartFailed", "no luck")


def seen(state, vm, now=NOW):
    return transition(state, Observed(now, vm))


# What was there before this reconciler


def test_what_runs_is_known_by_the_record_beside_its_lock():
    before = known(record={"boot_id": "another boot"})
    what = running(domain(memory=256))
    assert transition(before, RunningFound(NOW, what)) == (replace(before, running=what), ())


def test_a_record_that_is_newer_than_what_was_kept_raises_the_generation_and_never_lowers_it():
    """The reconciler was killed between the launch and the save."""
    before = known()
    assert transition(before, RunningFound(NOW, running(), {}, 5))[0].record.generation == 5
    before = known(record={"generation": 7})
    assert transition(before, RunningFound(NOW, running(), {}, 5))[0].record.generation == 7


def test_places_of_the_record_count_only_where_none_are_kept():
    there, kept = {"disk:vda": Place(1, 0)}, {"disk:vda": Place(2, 0)}
    assert transition(known(), RunningFound(NOW, running(), there))[0].record.places == there
    before = known(record={"places": kept})
    assert transition(before, RunningFound(NOW, running(), there))[0].record.places == kept


def test_where_the_record_is_lost_what_came_up_last_is_what_runs():
    good = domain(memory=64)
    before = known(good=good)
    assert transition(before, RunningFound(NOW, None))[0] == replace(
        before, running=running(good, OLD))
    assert transition(known(), RunningFound(NOW, None))[0].running is None
    what = running(domain(memory=256), NEW)
    assert transition(before, RunningFound(NOW, what))[0].running == what


def test_an_adoption_is_reported_and_changes_nothing():
    before = known(vm=RUNS)
    assert transition(before, Adopted(NOW)) == (before, (report("domain.adopted", before),))


# Observations


def test_an_observation_replaces_the_one_before_and_ends_what_was_being_launched():
    before = known(vm=ABSENT, launching=running(), running=running())
    process = ProcessInfo(42)
    assert transition(before, Observed(NOW, RUNS, process)) == (
        replace(before, vm=RUNS, process=process, launching=None), ())


def test_silence_is_counted_with_growing_delays_and_never_before_its_time():
    state = known(vm=RUNS, record={"boot_id": "another boot"})
    once, effects = seen(state, UNKNOWN)
    silent = RetryState((NOW.clock,), 1, NOW.clock + 1, "QmpTimeout", "it does not answer")
    assert (once, effects) == (
        replace(with_record(with_attempts(state, silence=silent), boot_id=BOOT), vm=UNKNOWN), ())
    # A look in between, for another reason, is not another attempt.
    assert seen(once, UNKNOWN, replace(NOW, clock=NOW.clock + 0.5))[0] == once
    twice = seen(once, UNKNOWN, replace(NOW, clock=NOW.clock + 1, jitter=2.0))[0].attempts.silence
    assert (twice.count, twice.retry_at) == (2, NOW.clock + 1 + 2 * 2.0)


@pytest.mark.parametrize("vm", [RUNS, PAUSED, ABSENT, replace(RUNS, state=VmState.STARTING)])
def test_an_answer_or_an_end_is_the_end_of_silence(vm):
    silent = known(vm=UNKNOWN, attempts=Attempts(silence=FAILING))
    assert seen(silent, vm) == (replace(with_attempts(silent, silence=RetryState()), vm=vm), ())


def test_an_observation_alone_is_not_written_to_disk():
    before = known(vm=RUNS, record={"boot_id": "another boot"})
    assert seen(before, RUNS)[0].record is before.record


# The new VM of a recreate


def recreating(wanted=None, vm=RUNS, *, good=None, probe=UNPROBED, replaced=41):
    """The new VM of a recreate was started; what ran before had less memory."""
    return known(domain(memory=256) if wanted is None else wanted, vm, Attempts(
        recreating_generation=1, replaced_pid=replaced, failures=FAILING),
        good=domain() if good is None else good, probe=probe)


def available(state):
    return with_record(replace(state, last_known_good=state.domain), last_known_good=NEW,
                       attempts=Attempts(replaced_pid=state.attempts.replaced_pid))


@pytest.mark.parametrize("vm", [RUNS, PAUSED])
def test_a_new_vm_without_a_probe_is_available_once_it_is_up(vm):
    state = recreating(vm=vm)
    assert seen(state, vm) == (available(state), ())


def test_a_new_vm_with_a_probe_is_available_once_it_is_healthy():
    wanted = domain(memory=256, health=HEALTH)
    waiting = recreating(wanted)
    assert seen(waiting, RUNS) == (waiting, ())
    healthy = recreating(wanted, probe=HEALTHY)
    assert seen(healthy, RUNS) == (available(healthy), ())


def test_what_is_wanted_paused_is_not_probed_and_available_once_it_is_up():
    state = recreating(domain(DesiredState.PAUSED, 256, health=HEALTH), PAUSED)
    assert seen(state, PAUSED) == (available(state), ())


@pytest.mark.parametrize("state", [
    recreating(replaced=42),  # the process is the old one
    known(vm=RUNS, attempts=Attempts(recreating_generation=0, failures=FAILING)),  # no recreate
    known(vm=RUNS, attempts=Attempts(recreating_generation=1), record={"generation": 2})])
def test_the_old_vm_says_nothing_about_its_replacement(state):
    assert seen(state, state.vm) == (state, ())


def test_a_vm_of_another_generation_says_nothing_about_the_new_one():
    state, other = recreating(), replace(RUNS, generation=0)
    assert seen(state, other) == (replace(state, vm=other), ())


@pytest.mark.parametrize("vm", [replace(RUNS, state=VmState.STARTING), ABSENT])
def test_a_vm_that_is_not_up_is_not_available(vm):
    state = recreating()
    assert seen(state, vm) == (replace(state, vm=vm), ())


def test_nothing_is_available_of_a_domain_that_cannot_be_read_any_more():
    state = replace(recreating(), domain=None)
    assert seen(state, RUNS) == (state, ())


def test_a_new_vm_that_is_not_healthy_is_rolled_back_and_that_is_reported():
    state = recreating(domain(memory=256, health=AGAIN), probe=ILL)
    message = "the new definition is not healthy: connection refused"
    assert seen(state, RUNS) == (
        with_record(state, attempts=Attempts(replaced_pid=41, rolled_back_generation=1,
                                             rolled_back_because=message)),
        (report("domain.rolledback", state, severity="error", reason="RolledBack",
                error=message),))


@pytest.mark.parametrize(("wanted", "good"), [
    (domain(memory=256, health=HEALTH), None),
    (domain(memory=256, health=HEALTH, rollback=False), domain()),
    (domain(health=HEALTH), domain())])  # what ran before is the same but for its probe
def test_without_anything_to_go_back_to_a_new_vm_that_is_not_healthy_stays(wanted, good):
    state = recreating(wanted, probe=ILL)
    state = with_record(replace(state, last_known_good=good),
                        last_known_good=None if good is None else OLD)
    assert seen(state, RUNS) == (with_record(state, attempts=Attempts(replaced_pid=41)), ())


# The health of a guest


def unhealthy(health=AGAIN, **values):
    return known(domain(health=health), RUNS, probe=ILL, running=running(domain(health=health)),
                 **values)


def test_an_unhealthy_guest_that_is_to_be_restarted_counts_as_an_exit_once_a_process():
    state = unhealthy()
    counted, effects = seen(state, RUNS)
    message = "its guest was not healthy: connection refused"
    end = Exit(ExitKind.UNHEALTHY, NOW.clock, wall=NOW.wall, message=message)
    assert counted == replace(with_attempts(
        state, restarts=1, last_exit=end, exits={"unhealthy": 1}, crashes=RetryState(
            (NOW.clock,), 1, NOW.clock, "HealthCheckFailed",
            f"{message}; 1 such exits within the window")), unhealthy_counted=True)
    assert effects == ()
    assert seen(counted, RUNS, LATER) == (counted, ())


@pytest.mark.parametrize("state", [
    unhealthy(HEALTH), replace(unhealthy(), probe=HEALTHY), replace(unhealthy(), probe=UNPROBED),
    known(vm=RUNS, probe=ILL),
    known(domain(DesiredState.PAUSED, health=AGAIN), RUNS, probe=ILL)])
def test_no_other_guest_counts_as_an_exit(state):
    assert seen(state, RUNS) == (state, ())


def test_after_a_rollback_the_probe_of_what_runs_counts():
    state = known(domain(memory=256, health=AGAIN), RUNS, Attempts(rolled_back_generation=1),
                  good=domain(), probe=ILL)
    assert seen(state, RUNS) == (state, ())


def test_after_a_rollback_without_anything_to_go_back_to_the_probe_of_the_file_counts():
    state = with_attempts(unhealthy(), rolled_back_generation=1)
    assert seen(state, RUNS)[0].attempts.exits == {"unhealthy": 1}


def test_another_process_is_probed_from_the_beginning():
    before = known(vm=RUNS, probe=ILL, unhealthy_counted=True)
    assert transition(before, ProbingRestarted(NOW)) == (
        replace(before, probe=ProbeResult(), unhealthy_counted=False), ())


def test_a_guest_that_becomes_healthy_is_reported_and_its_process_is_kept():
    before = known(vm=RUNS, record={"boot_id": "another boot"})
    state, effects = transition(before, Probed(NOW, HEALTHY, "42:7"))
    assert state == replace(with_record(before, last_healthy="42:7", boot_id=BOOT), probe=HEALTHY)
    assert effects == (report("domain.healthy", before, reason="Succeeded"), EXIT)


def test_a_guest_that_becomes_unhealthy_is_reported_and_looked_at():
    before = known(vm=RUNS, probe=HEALTHY)
    assert transition(before, Probed(NOW, ILL, "42:7")) == (replace(before, probe=ILL), (
        report("domain.unhealthy", before, severity="warning", reason="HealthCheckFailed",
               message="connection refused"), EXIT))


def test_another_failure_of_the_same_result_is_shown_and_the_same_one_is_not():
    before, more = known(vm=RUNS, probe=ILL), replace(ILL, failures=4)
    assert transition(before, Probed(NOW, more, "42:7")) == (replace(before, probe=more), ())
    other = replace(more, message="no route to host")
    assert transition(before, Probed(NOW, other, "42:7")) == (
        replace(before, probe=other), (Wake(Priority.DRIFT),))


# Exits


def ended(state, asked=False, end=KILL):
    return transition(state, ProcessEnded(NOW, end, asked=asked))


def test_an_exit_is_counted_reported_and_looked_at_before_files():
    before = known(vm=RUNS, running=running(), process=ProcessInfo(42), consoles={"serial": "/pty"},
                   deferred_changes=(DeferredChange("x", "busy", 2000.0),))
    state, effects = ended(before)
    assert state == replace(
        with_attempts(before, last_exit=KILL, exits={"killed": 1}, restarts=1, crashes=COUNTED),
        vm=ABSENT, process=None, consoles={}, deferred_changes=())
    assert effects == (report("domain.exited", state, severity="warning", reason=ExitKind.KILLED,
                              cause="exit", code=None, signal=9, message="killed by signal 9"),
                       EXIT)


@pytest.mark.parametrize(("starting", "asked"), [(True, False), (False, True), (True, True)])
def test_the_end_of_a_start_or_of_a_stop_is_not_an_exit(starting, asked):
    before = known(vm=RUNS, starting=starting)
    assert ended(before, asked) == (replace(before, vm=ABSENT), (EXIT,))


def test_an_exit_is_counted_by_the_policy_of_what_ran():
    stays = domain(restart_on_failure=False)
    assert ended(known(vm=RUNS, running=running(stays)))[0].attempts.down_reason == "Killed"
    assert ended(known(stays, RUNS, running=running()))[0].attempts.down_reason == ""
    assert ended(known(stays, RUNS))[0].attempts.down_reason == "Killed"


def test_an_exit_of_what_has_no_definition_is_reported_and_not_counted():
    before = replace(known(vm=RUNS), domain=None)
    state, effects = ended(before)
    assert state == replace(before, vm=ABSENT)
    assert [type(e).__name__ for e in effects] == ["Report", "Wake"]


def test_the_delay_after_an_exit_is_spread():
    end = ProcessEnded(replace(NOW, jitter=3.0), KILL, asked=False)
    state, _ = transition(known(vm=RUNS), end)
    assert state.attempts.crashes.retry_at == NOW.clock  # a lone one has no delay
    state, _ = transition(state, end)
    assert state.attempts.crashes.retry_at == pytest.approx(NOW.clock + 3.0)


def test_an_exit_while_the_reconciler_was_not_running_counts_like_another():
    before = known(running=running())
    state, effects = transition(before, ExitFound(NOW, KILL))
    assert state == with_attempts(before, last_exit=KILL, exits={"killed": 1}, restarts=1,
                                  crashes=COUNTED)
    assert [e.event for e in effects] == ["domain.exited"]


# Reboots of the guest

STAYS = domain(destroy_on_reboot=True)


def test_a_guest_that_reboots_against_its_file_stays_down():
    before = known(STAYS, RUNS, running=running(STAYS))
    state, effects = transition(before, GuestRebooted(NOW))
    end = Exit(ExitKind.RESET, NOW.clock, message="the guest rebooted", wall=NOW.wall)
    assert state == with_attempts(before, last_exit=end, exits={"guest-reset": 1},
                                  down_reason="PoweredOff")
    assert effects == (report("domain.exited", before, severity="warning", reason=ExitKind.RESET,
                              cause="exit", code=None, signal=None, message="the guest rebooted"),)


@pytest.mark.parametrize("state", [
    known(STAYS, RUNS), known(STAYS, RUNS, running=running()),
    known(STAYS, RUNS, Attempts(down_reason="PoweredOff"), running=running(STAYS))])
def test_any_other_reboot_of_a_guest_is_not_an_exit(state):
    assert transition(state, GuestRebooted(NOW)) == (state, ())


# The rest


def test_a_device_that_went_is_missing_from_what_runs():
    before, left = known(vm=RUNS, running=running()), domain(memory=1)
    assert transition(before, DeviceRemoved(NOW, left)) == (
        replace(before, running=replace(running(), domain=left)), ())
    unknown = known(vm=RUNS)
    assert transition(unknown, DeviceRemoved(NOW, left)) == (unknown, ())


def test_consoles_are_those_of_this_process():
    before = known(vm=RUNS)
    assert transition(before, ConsolesFound(NOW, {"serial": "/dev/pts/1"})) == (
        replace(before, consoles={"serial": "/dev/pts/1"}, consoles_of=42), ())


def test_nothing_is_kept_of_a_domain_by_looking_at_it():
    """A record that is found beside a lock, of a domain that has no definition."""
    before = known(record={"definition": None})
    assert before.revision == ""
    assert seen(before, ABSENT)[0].record == DomainRecord(
        before.uuid, "a", 1, boot_id=BOOT, accepted_at=5.0)
