"""A plan is made, begun and ended; its actions begin, succeed and fail: what follows of each."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.domain.place import Place
from reconciler.domain.policy import DesiredState, Health, Probe
from reconciler.engine.decide.definition_history import applied
from reconciler.engine.decide.events import (
    ActionBegun,
    ActionDone,
    ActionFailed,
    Archive,
    CameUp,
    Excuse,
    Faulted,
    LaunchBegun,
    Launched,
    PlanBegun,
    PlanEnded,
    Planned,
    StartAwaited,
    StartBegun,
)
from reconciler.engine.decide.inputs import (
    STOP,
    Attempts,
    Cause,
    Condition,
    Pending,
    Plan,
    Removal,
    RetryState,
    Step,
    Truth,
    Verb,
    WaitsFor,
)
from reconciler.engine.decide.state import DecisionConfig, LastAction
from reconciler.engine.decide.transition import transition
from reconciler.units import timestamp
from tests.engine.decide.states import (
    ABSENT,
    BOOT,
    IN_SYNC,
    NEW,
    OLD,
    PAUSED,
    READY,
    RUNS,
    UNKNOWN,
    known,
    planned,
    report,
    running,
    with_attempts,
    with_record,
)
from tests.values import NOW, domain

AT = timestamp(NOW.wall)
START, CHECK = Step(Verb.START), Step(Verb.CHECK)
RECREATE = (CHECK, STOP, START)
BACK = Step(Verb.START, rollback=True)
STALLED = (Condition("Ready", Truth.FALSE, "CrashLoop", "x"),
           Condition("Stalled", Truth.TRUE, "CrashLoop", "x"))
SETTLED = Attempts(observed_generation=1, last_settled_state="running")
BIGGER = domain(memory=256)
PROBED = domain(health=Health(Probe.TCP, "a:1"))
FAILED = RetryState((1.0,), 1, 2.0, "StartFailed", "no luck")


def without_history(state, **values):
    """A state whose history a test does not look at."""
    return with_record(state, history=(), **values)


# A plan is made


def test_a_plan_is_known_with_what_was_believed_of_the_file_when_it_was_made():
    before = known(removal=Removal.HELD)
    plan = planned(START)
    assert transition(before, Planned(NOW, plan)) == (replace(
        before, plan=plan, planned_for=Removal.HELD, planned_definition=NEW,
        condition_since={"Ready": ("Unknown", AT)}), ())


def test_conditions_that_appear_are_reported_in_their_order():
    before = known(vm=RUNS, attempts=SETTLED)
    conditions = (Condition("Ready", Truth.FALSE, "HoldRequested"),
                  Condition("Held", Truth.TRUE, "HoldRequested", "held by me"))
    state, effects = transition(before, Planned(NOW, Plan(conditions=conditions)))
    assert effects == (report("domain.held", before, severity="info", reason="HoldRequested",
                              message="held by me"),)
    assert transition(state, Planned(NOW, state.plan)) == (state, ())
    assert transition(state, Planned(NOW, READY))[1] == (
        report("domain.released", before, severity="info", reason="HoldRequested", message=""),)


def test_a_generation_that_ends_ready_goes_into_the_history_and_the_archive_after_the_news():
    before = known(vm=RUNS, record={"boot_id": "another boot"}, condition_since={
        "Held": ("True", "then")})
    state, effects = transition(before, Planned(NOW, READY))
    history = applied((), NEW, "InSync", AT, 20)
    assert state == replace(
        with_record(before, attempts=SETTLED, history=history, last_known_good=NEW, boot_id=BOOT),
        plan=READY, condition_since={"Ready": ("True", AT)}, last_known_good=before.domain,
        planned_definition=NEW)
    assert effects == (
        report("domain.released", before, severity="info", reason="HoldRequested", message=""),
        Archive(NEW, history))


def test_a_generation_that_ends_stalled_goes_into_the_history_with_its_reason():
    before = known(attempts=Attempts(last_settled_state="stopped"))
    state, effects = transition(before, Planned(NOW, Plan(conditions=STALLED)))
    history = applied((), NEW, "CrashLoop", AT, 20)
    assert state.record == with_record(before, history=history, attempts=Attempts(
        observed_generation=1, last_settled_state="stopped")).record
    assert effects == (report("domain.stalled", before, severity="error", reason="CrashLoop",
                              message="x"), Archive(NEW, history))
    assert state.last_known_good is None
    state, _ = transition(known(vm=RUNS), Planned(NOW, Plan(conditions=STALLED)))
    assert (state.last_known_good, state.record.last_known_good) == (None, None)


def test_the_history_has_as_many_definitions_as_configured():
    before = replace(known(vm=RUNS), config=DecisionConfig(history=2, boot_id=BOOT))
    for number, text in enumerate((NEW, OLD, replace(NEW, text="third")), 1):
        before = with_record(before, generation=number, definition=text)
        before, _ = transition(before, Planned(NOW, READY))
    assert [entry["number"] for entry in before.record.history] == [2, 3]


@pytest.mark.parametrize("before", [
    known(vm=RUNS, invalid="a.xml:3: wrong"), known(vm=RUNS, record={"definition": None})])
def test_what_is_no_definition_in_force_leaves_no_history(before):
    state, effects = transition(before, Planned(NOW, READY))
    assert state.record == with_record(before, attempts=SETTLED).record
    assert effects == ()


@pytest.mark.parametrize("before", [
    known(vm=ABSENT), known(vm=UNKNOWN), known(vm=RUNS, removal=Removal.APPROVED)])
def test_only_what_runs_and_stays_is_known_good(before):
    state, _ = transition(before, Planned(NOW, READY))
    assert (state.last_known_good, state.record.last_known_good) == (None, None)
    assert state.record.history


def test_what_still_lacks_a_change_is_not_known_good():
    waits = replace(READY, pending=(Pending(None, "guest: busy", WaitsFor.GUEST),))
    state, _ = transition(known(vm=RUNS), Planned(NOW, waits))
    assert (state.last_known_good, state.record.last_known_good) == (None, None)
    assert transition(known(vm=PAUSED), Planned(NOW, READY))[0].last_known_good == domain()


def test_a_plan_that_says_the_same_again_writes_nothing():
    before = known(vm=RUNS, attempts=SETTLED, condition_since={"Ready": ("True", "then")},
                   planned_definition=NEW)
    assert transition(before, Planned(NOW, READY)) == (replace(before, plan=READY), ())


def test_what_is_known_from_another_boot_is_kept_as_of_this_one():
    """A record that was made before a boot id was noted."""
    before = known(vm=RUNS, attempts=SETTLED, record={"boot_id": ""})
    assert transition(before, Planned(NOW, READY))[0].record.boot_id == BOOT
    other = known(vm=RUNS, attempts=SETTLED, record={"boot_id": "another"})
    assert transition(other, Planned(NOW, READY))[0].record == other.record


def test_another_state_that_is_reached_is_noted_without_history():
    before = known(domain(DesiredState.PAUSED), PAUSED, SETTLED)
    state, effects = transition(before, Planned(NOW, READY))
    assert state.record == with_attempts(before, last_settled_state="paused").record
    assert effects == ()


def test_a_stalled_domain_has_not_reached_the_state_of_its_file():
    before = known(domain(DesiredState.PAUSED), attempts=SETTLED)
    state, _ = transition(before, Planned(NOW, Plan(conditions=STALLED)))
    assert state.attempts == SETTLED


def test_a_domain_that_is_neither_ready_nor_stalled_has_not_ended_its_generation():
    assert transition(known(), Planned(NOW, planned(START)))[0].record == known().record
    unread = replace(known(), domain=None)
    assert transition(unread, Planned(NOW, READY))[0].record == unread.record


def test_old_crashes_are_forgotten_by_a_domain_that_is_ready_and_not_by_a_stalled_one():
    old = replace(SETTLED, crashes=RetryState((NOW.clock - 600,), 1, NOW.clock - 599))
    before = known(vm=RUNS, attempts=old)
    assert transition(before, Planned(NOW, READY))[0].attempts == SETTLED
    assert transition(before, Planned(NOW, Plan(conditions=STALLED)))[0].attempts == old
    recent = replace(SETTLED, crashes=RetryState((NOW.clock - 599,), 1, NOW.clock - 598))
    assert transition(known(vm=RUNS, attempts=recent), Planned(NOW, READY))[0].attempts == recent


# A plan is begun


def begun(plan, vm=RUNS, attempts=SETTLED, *, good=None, **values):
    """Before and after, and the effects."""
    before = known(BIGGER, vm, attempts, good=good, plan=plan, **values)
    return before, *transition(before, PlanBegun(NOW))


@pytest.mark.parametrize("cause", [Cause.FILE, Cause.ROLLBACK])
def test_a_recreate_notes_the_generation_and_the_process_that_it_replaces(cause):
    plan = planned(*RECREATE, cause=cause, reason="Recreating", message="memory: 1 → 2")
    before, state, effects = begun(plan, record={"boot_id": "another boot"})
    assert state == replace(
        with_record(with_attempts(before, recreating_generation=1, replaced_pid=42), boot_id=BOOT),
        executing=RECREATE)
    assert effects == (report("domain.recreating", before, cause=cause, message="memory: 1 → 2"),)


@pytest.mark.parametrize("cause", [Cause.COMMAND, Cause.EXIT])
def test_a_restart_is_reported_as_a_restart(cause):
    before, _, effects = begun(planned(*RECREATE, cause=cause, message="why"))
    assert effects == (report("domain.restarting", before, cause=cause, message="why"),)


def test_a_recreate_that_is_begun_again_is_not_reported_again():
    noted = replace(SETTLED, recreating_generation=1, replaced_pid=42)
    assert begun(planned(*RECREATE), attempts=noted)[2] == ()
    assert len(begun(planned(*RECREATE), attempts=replace(noted, replaced_pid=41))[2]) == 1
    assert len(begun(planned(*RECREATE), attempts=replace(noted, recreating_generation=0))[2]) == 1


def test_the_replacement_of_an_unhealthy_guest_notes_no_recreate_and_is_reported():
    before, state, effects = begun(planned(STOP, START, cause=Cause.EXIT))
    assert state == replace(before, executing=(STOP, START))
    assert [e.event for e in effects] == ["domain.restarting"]


def test_an_unhealthy_guest_that_is_replaced_by_another_definition_is_recreated():
    before, state, _ = begun(planned(STOP, START, cause=Cause.EXIT), good=domain())
    assert state == replace(with_attempts(before, recreating_generation=1, replaced_pid=42),
                            executing=(STOP, START))


@pytest.mark.parametrize("steps", [(START,), (Step(Verb.START_PAUSED),)])
@pytest.mark.parametrize("settled", ["running", "paused"])
def test_a_changed_domain_that_ended_by_itself_is_started_as_if_it_were_recreated(steps, settled):
    attempts = replace(SETTLED, last_settled_state=settled)
    before, state, effects = begun(planned(*steps), ABSENT, attempts, good=domain())
    assert state == replace(with_attempts(before, recreating_generation=1, replaced_pid=0),
                            executing=steps)
    assert effects == ()


@pytest.mark.parametrize(("steps", "settled", "good"), [
    ((START,), "stopped", domain()),  # its first start, as it were
    ((START,), "", domain()), ((START,), "running", None), ((START,), "running", BIGGER),
    ((BACK,), "running", domain()), ((Step(Verb.PAUSE),), "running", domain())])
def test_no_other_plan_counts_as_a_recreate(steps, settled, good):
    before, state, effects = begun(planned(*steps), ABSENT, replace(
        SETTLED, last_settled_state=settled), good=good)
    assert (state, effects) == (replace(before, executing=steps), ())


def test_a_removal_is_not_reported_as_a_restart():
    steps = (STOP, Step(Verb.FORGET))
    assert begun(planned(*steps))[2] == ()
    assert begun(planned(STOP))[2] == ()


def test_a_correction_of_drift_is_reported():
    before, state, effects = begun(planned(Step(Verb.RESUME), cause=Cause.DRIFT), PAUSED)
    assert state == replace(before, executing=(Step(Verb.RESUME),))
    assert effects == (report("domain.drifted", before, severity="warning", cause=Cause.DRIFT,
                              reason="Drifted", message="state is paused"),)


# A plan is ended


def test_a_plan_that_is_done_ends_its_failures_and_its_recreate():
    worn = replace(SETTLED, failures=FAILED, recreating_generation=1, replaced_pid=42)
    before = known(BIGGER, RUNS, worn, executing=RECREATE, starting=True,
                   record={"boot_id": "another boot"})
    ended = replace(before, executing=(), starting=False)
    assert transition(before, PlanEnded(NOW, done=True)) == (with_record(
        ended, attempts=replace(SETTLED, replaced_pid=42), boot_id=BOOT), ())
    assert transition(before, PlanEnded(NOW, done=False)) == (ended, ())
    gone = replace(before, forgotten=True)
    assert transition(gone, PlanEnded(NOW, done=True)) == (replace(ended, forgotten=True), ())


def test_a_plan_that_changed_no_counter_writes_nothing():
    before = known(attempts=SETTLED, record={"boot_id": "another boot"}, executing=(START,))
    assert transition(before, PlanEnded(NOW, done=True)) == (replace(before, executing=()), ())


def test_a_recreate_goes_on_until_the_new_guest_is_healthy():
    worn = replace(SETTLED, failures=FAILED, recreating_generation=1)
    before = known(PROBED, RUNS, worn, executing=RECREATE)
    assert transition(before, PlanEnded(NOW, done=True))[0].attempts == replace(
        SETTLED, recreating_generation=1)
    paused = replace(PROBED, policy=replace(PROBED.policy, state=DesiredState.PAUSED))
    other = known(paused, PAUSED, worn)
    assert transition(other, PlanEnded(NOW, done=True))[0].attempts == SETTLED
    other = replace(known(PROBED, RUNS, worn), domain=None)
    assert transition(other, PlanEnded(NOW, done=True))[0].attempts == SETTLED
    other = known(PROBED, RUNS, worn, record={"generation": 2})
    assert transition(other, PlanEnded(NOW, done=True))[0].attempts == SETTLED


# Starts


def test_a_start_is_on_disk_before_it_is_prepared():
    before = known(vm=ABSENT, plan=planned(START, cause=Cause.EXIT), attempts=Attempts(
        failures=FAILED))
    assert transition(before, StartBegun(NOW, START, running())) == (
        replace(before, launching=running()),
        (report("domain.starting", before, durable=True, action=Verb.START, cause=Cause.EXIT,
                file="a.xml", revision="main@1", attempt=2),))


def test_the_event_of_a_start_names_no_process_and_no_file_that_is_not_known():
    before = known(vm=RUNS, plan=planned(*RECREATE))
    _, (event,) = transition(before, StartBegun(NOW, START, running(text=None)))
    assert (event.values["pid"], event.values["file"], event.values["revision"]) == (
        None, None, None)


def test_places_are_on_disk_before_the_process_is_made():
    places = {"disk:vda": Place(1, 0)}
    before = known(record={"boot_id": "another boot"})
    event = LaunchBegun(NOW, running(), places, "b")
    launching = replace(before, launching=running(), home="b", starting=True)
    assert transition(before, event) == (
        with_record(launching, places=places, boot_id=BOOT), ())
    same = with_record(before, places=places)
    assert transition(same, event) == (with_record(launching, places=places), ())


def test_what_is_launched_runs_and_a_restart_that_was_asked_for_is_done():
    before = known(launching=running(), restart_asked=True, plan=planned(START))
    assert transition(before, Launched(NOW)) == (
        replace(before, running=running(), restart_asked=False), ())


def test_a_start_that_corrects_drift_counts_as_a_correction():
    before = known(launching=running(), plan=planned(START, cause=Cause.DRIFT))
    assert transition(before, Launched(NOW))[0].attempts.drift.times == (NOW.clock,)


def test_a_start_that_is_waited_for_again_is_a_start():
    assert transition(known(), StartAwaited(NOW)) == (known(starting=True), ())


def came_up(before, verb=Verb.START):
    return transition(before, CameUp(NOW, verb, 43, 12.5))


def test_what_came_up_is_known_good_and_reported():
    what = replace(running(BIGGER, OLD), definition=domain(memory=64))
    before = known(starting=True, running=what, plan=planned(START, cause=Cause.BOOT),
                   record={"boot_id": "another boot"})
    assert came_up(before) == (
        replace(with_record(before, last_known_good=OLD, boot_id=BOOT), starting=False,
                last_known_good=domain(memory=64), last_action=LastAction(
                    Verb.START, AT, Cause.BOOT, "ok", "main@2", 12.5)),
        (report("domain.started", replace(before, vm=replace(RUNS, pid=43)), action=Verb.START,
                cause=Cause.BOOT, revision="main@1", paused=None, durationMs=12.5),))


def test_what_came_up_paused_is_reported_as_paused():
    _, (event,) = came_up(known(running=running()), Verb.START_PAUSED)
    assert (event.values["paused"], event.values["action"]) == (True, Verb.START_PAUSED)


@pytest.mark.parametrize("before", [
    known(PROBED, running=running(), attempts=Attempts(recreating_generation=1)),  # not yet
    known(running=running(text=None)), known()])
def test_what_is_not_known_to_be_good_stays_so(before):
    state, (event,) = came_up(before)
    assert (state.record, state.last_known_good) == (before.record, None)
    assert event.values["revision"] == (None if before.domain == domain() else "main@1")


# Other actions


@pytest.mark.parametrize(("verb", "name"), [
    (Verb.STOP, "domain.stopping"), (Verb.PAUSE, "domain.pausing"),
    (Verb.RESUME, "action.started"), (Verb.FORGET, "action.started")])
def test_an_action_is_on_disk_before_it_is_taken(verb, name):
    before = known(vm=RUNS, plan=planned(Step(verb), cause=Cause.APPROVAL))
    assert transition(before, ActionBegun(NOW, verb)) == (
        before, (report(name, before, durable=True, action=verb, cause=Cause.APPROVAL),))


def done(before, verb, pid=None):
    return transition(before, ActionDone(NOW, verb, 12.5, pid))


def last(verb, cause=Cause.FILE):
    return LastAction(verb, AT, cause, "ok", "main@2", 12.5)


def test_what_was_stopped_is_absent_and_the_event_names_its_process():
    before = known(vm=RUNS, plan=planned(STOP))
    assert done(before, Verb.STOP, 42) == (
        replace(before, vm=ABSENT, last_action=last(Verb.STOP)),
        (report("domain.stopped", before, action=Verb.STOP, cause=Cause.FILE, durationMs=12.5),))


def test_a_restart_that_was_asked_for_lasts_from_the_stop_until_the_launch():
    """A newer definition may interrupt it in between: it is still a user's restart."""
    before = known(vm=RUNS, plan=planned(*RECREATE, cause=Cause.COMMAND), restart_asked=True)
    state, _ = done(before, Verb.CHECK)
    state, _ = done(state, Verb.STOP, 42)
    assert state.restart_asked
    state, _ = transition(state, PlanEnded(NOW, done=False))
    assert state.restart_asked


def test_what_was_forgotten_is_forgotten_and_its_event_has_no_duration():
    before = known(vm=ABSENT, plan=planned(Step(Verb.FORGET), cause=Cause.APPROVAL))
    assert done(before, Verb.FORGET) == (
        replace(before, forgotten=True, last_action=last(Verb.FORGET, Cause.APPROVAL)),
        (report("domain.destroyed", before, action=Verb.FORGET, cause=Cause.APPROVAL,
                durationMs=None),))


@pytest.mark.parametrize(("verb", "name"), [
    (Verb.PAUSE, "domain.paused"), (Verb.RESUME, "domain.resumed")])
def test_pause_and_resume_are_reported_when_they_are_done(verb, name):
    before = known(vm=RUNS, plan=planned(Step(verb)))
    assert done(before, verb) == (
        replace(before, last_action=last(verb)),
        (report(name, before, action=verb, cause=Cause.FILE, durationMs=12.5),))


def test_a_check_that_is_done_is_the_last_action_and_no_event():
    before = known(vm=RUNS, plan=planned(*RECREATE))
    assert done(before, Verb.CHECK) == (replace(before, last_action=last(Verb.CHECK)), ())


def test_the_third_correction_in_a_while_is_a_fight_which_is_reported_before_the_action():
    plan = planned(Step(Verb.RESUME), cause=Cause.DRIFT)
    state = known(vm=PAUSED, plan=plan, executing=plan.steps)
    for _ in range(2):
        state, effects = done(state, Verb.RESUME)
        assert [e.event for e in effects] == ["domain.resumed"]
    state, effects = done(state, Verb.RESUME)
    message = "state was changed from outside 3 times within the window"
    assert state.attempts.drift == RetryState((NOW.clock,) * 3, 1, NOW.clock + 2, "DriftFight",
                                              message)
    assert effects == (
        report("domain.contested", state, severity="warning", reason="DriftFight", message=message),
        report("domain.resumed", state, action=Verb.RESUME, cause=Cause.DRIFT, durationMs=12.5))


def test_a_pause_may_be_a_correction():
    before = known(vm=RUNS, plan=planned(Step(Verb.PAUSE), cause=Cause.DRIFT))
    assert done(before, Verb.PAUSE)[0].attempts.drift.times == (NOW.clock,)


@pytest.mark.parametrize("plan", [
    planned(Step(Verb.RESUME)), planned(STOP, START, cause=Cause.DRIFT)])
def test_what_is_no_correction_is_not_counted_as_one(plan):
    before = known(vm=PAUSED, plan=plan, executing=plan.steps)
    assert done(before, Verb.RESUME)[0].attempts == Attempts()


def test_the_delay_of_a_fight_is_spread():
    times = RetryState((NOW.clock,) * 2)
    before = known(vm=PAUSED, plan=planned(Step(Verb.RESUME), cause=Cause.DRIFT),
                   attempts=Attempts(drift=times))
    state, _ = transition(before, ActionDone(replace(NOW, jitter=2.0), Verb.RESUME, 1.0))
    assert state.attempts.drift.retry_at == NOW.clock + 4


# Failures


def failed(before, verb=Verb.START, **values):
    values = {"reason": "StartFailed", "message": "no luck", **values}
    return transition(before, ActionFailed(NOW, verb, **values))


def as_failed(before, verb=Verb.START, **values):
    """What every failure leaves."""
    return replace(before, starting=False, launching=None, restart_asked=False,
                   last_action=LastAction(verb, AT, before.plan.cause, "failed", error="no luck"),
                   **values)


def failure(before, verb=Verb.START, attempt=1, **values):
    values = {"reason": "StartFailed", "cause": before.plan.cause, "hint": "", **values}
    return report("action.failed", before, severity="error", action=verb, error="no luck",
                  attempt=attempt, **values)


def test_a_failure_is_counted_reported_and_ends_what_was_asked_for():
    before = known(BIGGER, starting=True, launching=running(), restart_asked=True, good=domain(),
                   plan=planned(START, cause=Cause.COMMAND), record={"boot_id": "another boot"})
    counted = RetryState((NOW.clock,), 1, NOW.clock + 1, "StartFailed", "no luck")
    assert failed(before) == (
        as_failed(with_record(with_attempts(before, failures=counted), boot_id=BOOT)),
        (failure(before),))


def test_a_hint_is_part_of_the_message_that_stays():
    state, effects = failed(known(plan=planned(START)), hint="free some memory")
    assert state.attempts.failures.message == "no luck (free some memory)"
    assert effects == (failure(state, hint="free some memory"),)


def test_the_delay_after_a_failure_is_spread():
    state, _ = transition(known(), ActionFailed(replace(NOW, jitter=3.0), Verb.STOP, "x", "y"))
    assert state.attempts.failures.retry_at == NOW.clock + 3


def recreating(wanted=BIGGER, good=None, **attempts):
    good = domain() if good is None else good
    return known(wanted, ABSENT, replace(SETTLED, recreating_generation=1, **attempts),
                 good=good, plan=planned(*RECREATE), starting=True)


@pytest.mark.parametrize("verb", [Verb.START, Verb.START_PAUSED])
def test_a_new_definition_that_does_not_come_up_is_rolled_back_and_nothing_is_counted(verb):
    before = recreating(failures=FAILED)
    message = "the new definition did not come up: no luck"
    state, effects = failed(before, verb)
    assert state == as_failed(with_record(before, attempts=replace(
        SETTLED, rolled_back_generation=1, rolled_back_because=message)), verb)
    assert effects == (
        report("domain.rolledback", before, severity="error", reason="RolledBack", error=message),
        failure(before, verb, attempt=0))


@pytest.mark.parametrize("before", [
    known(BIGGER, good=domain(), plan=planned(START)),  # no recreate
    with_record(recreating(), generation=2),  # that of an older one
    replace(recreating(), last_known_good=None),  # nothing ever came up
    recreating(domain(memory=256, rollback=False)),  # its file does not allow it
    replace(recreating(), domain=None),  # its file cannot be read any more
    recreating(domain(), domain())])  # the same definition would be started again
def test_without_anything_to_go_back_to_the_definition_is_attempted_again(before):
    state, effects = failed(before)
    assert state.attempts.rolled_back_generation == 0
    assert state.attempts.failures.count == 1
    assert effects == (failure(before),)


@pytest.mark.parametrize("verb", [Verb.CHECK, Verb.STOP, Verb.PAUSE])
def test_only_a_start_that_fails_condemns_a_definition(verb):
    state, effects = failed(recreating(), verb)
    assert state.attempts.rolled_back_generation == 0
    assert state.attempts.failures.count == 1
    assert effects == (failure(recreating(), verb),)


@pytest.mark.parametrize("excuse", list(Excuse))
def test_a_name_or_a_lock_that_is_taken_does_not_condemn_the_new_definition(excuse):
    state, effects = failed(recreating(), excuse=excuse)
    assert state.attempts.rolled_back_generation == 0
    assert state.attempts.recreating_generation == 1
    assert state.attempts.failures.count == 1
    assert effects == (failure(recreating()),)


def rolled_back():
    """Its last known good definition was started, and that failed."""
    return known(BIGGER, ABSENT, replace(SETTLED, rolled_back_generation=1,
                                         rolled_back_because="it did not come up"),
                 good=domain(), plan=planned(BACK, cause=Cause.ROLLBACK))


def test_a_name_that_is_taken_ends_a_rollback_so_that_the_new_name_is_attempted():
    state, _ = failed(rolled_back(), excuse=Excuse.NAME_TAKEN)
    assert (state.attempts.rolled_back_generation, state.attempts.rolled_back_because) == (0, "")
    assert state.attempts.failures.count == 1


@pytest.mark.parametrize("excuse", [Excuse.LOCK_TAKEN, None])
def test_any_other_failure_of_a_rollback_leaves_it(excuse):
    state, _ = failed(rolled_back(), excuse=excuse)
    assert state.attempts == replace(rolled_back().attempts, failures=RetryState(
        (NOW.clock,), 1, NOW.clock + 1, "StartFailed", "no luck"))


# Errors of the reconciler


def test_after_an_error_of_the_reconciler_nothing_is_known():
    before = known(vm=RUNS, plan=READY, executing=RECREATE, starting=True)
    conditions = (Condition("Ready", Truth.UNKNOWN, "InternalError", "it broke"),
                  Condition("Stalled", Truth.TRUE, "InternalError", "it broke"))
    assert transition(before, Faulted(NOW, "it broke")) == (
        replace(before, executing=(), starting=False, plan=Plan(conditions=conditions)), ())


def test_an_action_is_shown_without_the_values_that_it_does_not_have():
    failed_one = LastAction(Verb.STOP, AT, Cause.FILE, "failed", error="no luck")
    assert failed_one.value() == {"name": "stop", "at": AT, "cause": "file", "result": "failed",
                                  "error": "no luck"}
    assert last(Verb.STOP).value() == {"name": "stop", "at": AT, "cause": "file", "result": "ok",
                                       "revision": "main@2", "durationMs": 12.5}
    assert IN_SYNC.status is Truth.TRUE
