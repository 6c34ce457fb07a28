"""The decision, on values alone."""

from dataclasses import replace

import pytest

from reconciler.domain.policy import DesiredState, PrunePolicy, UpdatePolicy
from reconciler.engine.decide.inputs import (
    Attempts,
    Cause,
    Hold,
    Now,
    Removal,
    RetryState,
    Step,
    Truth,
    Verb,
    VmState,
)
from reconciler.engine.decide.plan import plan
from reconciler.units import timestamp
from tests.values import NOW, domain, inputs

RUNNING, PAUSED, STOPPED = DesiredState.RUNNING, DesiredState.PAUSED, DesiredState.STOPPED


def verbs(decided):
    return [step.verb for step in decided.steps]


@pytest.mark.parametrize(("wanted", "state", "expected"), [
    (RUNNING, VmState.ABSENT, [Verb.START]),
    (RUNNING, VmState.RUNNING, []),
    (RUNNING, VmState.PAUSED, [Verb.RESUME]),
    (RUNNING, VmState.STARTING, []),
    (PAUSED, VmState.ABSENT, [Verb.START_PAUSED]),
    (PAUSED, VmState.RUNNING, [Verb.PAUSE]),
    (PAUSED, VmState.PAUSED, []),
    (STOPPED, VmState.ABSENT, []),
    (STOPPED, VmState.RUNNING, [Verb.STOP]),
    (STOPPED, VmState.PAUSED, [Verb.STOP]),
    (STOPPED, VmState.UNKNOWN, [Verb.STOP]),
    (RUNNING, VmState.UNKNOWN, []),
])
def test_every_wanted_state_from_every_observed_one(wanted, state, expected):
    assert verbs(plan(inputs(domain(wanted), state), NOW)) == expected


@pytest.mark.parametrize(("wanted", "state"), [
    (RUNNING, VmState.RUNNING), (PAUSED, VmState.PAUSED), (STOPPED, VmState.ABSENT)])
def test_ready_means_observed_equals_desired_for_stopped_too(wanted, state):
    decided = plan(inputs(domain(wanted), state), NOW)
    assert decided.ready.status is Truth.TRUE
    assert decided.ready.reason == "InSync"
    assert not decided.changes_anything


def test_rule_9_a_vm_that_does_not_answer_is_unknown():
    decided = plan(inputs(state=VmState.UNKNOWN), NOW)
    assert decided.ready.status is Truth.UNKNOWN
    assert decided.look_again_at > NOW.clock


def test_a_change_of_meaning_recreates_after_a_check():
    decided = plan(inputs(domain(memory=256), VmState.RUNNING, running=domain()), NOW)
    assert verbs(decided) == [Verb.CHECK, Verb.STOP, Verb.START]
    assert [p.change.path for p in decided.pending] == ["memory"]


@pytest.mark.parametrize("policy", [UpdatePolicy.LIVE, UpdatePolicy.MANUAL])
def test_pain_5_a_deferred_change_is_ready_and_pending_and_told(policy):
    changed = domain(memory=256, update=policy)
    decided = plan(inputs(changed, VmState.RUNNING, running=domain()), NOW)
    assert verbs(decided) == []
    assert decided.ready == replace(decided.ready, status=Truth.TRUE, reason="ChangesDeferred")
    assert decided.condition("RestartRequired").status is Truth.TRUE
    assert decided.changes_anything
    asked = plan(inputs(changed, VmState.RUNNING, running=domain(), restart_asked=True), NOW)
    assert verbs(asked) == [Verb.CHECK, Verb.STOP, Verb.START]
    assert asked.cause is Cause.COMMAND


def test_a_policy_alone_changes_nothing_of_the_vm():
    decided = plan(inputs(domain(stop_timeout=99.0), VmState.RUNNING, running=domain()), NOW)
    assert not decided.changes_anything


def test_rule_3_an_invalid_file_leaves_the_last_good_definition_in_force():
    decided = plan(inputs(state=VmState.RUNNING, invalid="a.xml:3: error"), NOW)
    assert verbs(decided) == []
    assert decided.ready.status is Truth.FALSE
    assert decided.condition("Valid").status is Truth.FALSE
    died = plan(inputs(state=VmState.ABSENT, invalid="a.xml:3: error"), NOW)
    assert verbs(died) == [Verb.START]


def test_rule_6_only_proof_removes():
    for removal in (Removal.NONE, Removal.HELD):
        assert verbs(plan(inputs(state=VmState.RUNNING, removal=removal), NOW)) == []
    proven = plan(inputs(state=VmState.RUNNING, removal=Removal.PROVEN), NOW)
    assert verbs(proven) == [Verb.STOP, Verb.FORGET]


def test_prune_keep_and_confirm():
    keep = domain(prune=PrunePolicy.KEEP)
    decided = plan(inputs(keep, VmState.RUNNING, removal=Removal.PROVEN), NOW)
    assert verbs(decided) == []
    assert decided.condition("Orphaned").status is Truth.TRUE
    confirm = domain(prune=PrunePolicy.CONFIRM)
    held = plan(inputs(confirm, VmState.RUNNING, removal=Removal.PROVEN), NOW)
    assert verbs(held) == []
    assert held.condition("PruneHeld").reason == "ConfirmRequired"
    approved = plan(inputs(confirm, VmState.RUNNING, removal=Removal.APPROVED), NOW)
    assert verbs(approved) == [Verb.STOP, Verb.FORGET]


def test_prune_after_stops_now_and_forgets_later():
    later = domain(prune_after=60.0)
    now = plan(inputs(later, VmState.RUNNING, removal=Removal.PROVEN, removal_since=1000.0), NOW)
    assert verbs(now) == [Verb.STOP]
    waiting = plan(inputs(later, removal=Removal.PROVEN, removal_since=1000.0), NOW)
    assert verbs(waiting) == []
    assert waiting.look_again_at == 1060.0
    over = plan(inputs(later, removal=Removal.PROVEN, removal_since=1000.0), Now(1060.0, 0.0))
    assert verbs(over) == [Verb.FORGET]


def test_pain_7_held_only_tells():
    hold = Hold("repair", "me@pts0", None)
    decided = plan(inputs(domain(PAUSED), VmState.RUNNING, hold=hold), NOW)
    assert verbs(decided) == []
    assert [s.verb for s in decided.blocked] == [Verb.PAUSE]
    assert decided.condition("Drifted").status is Truth.TRUE
    assert decided.condition("Held").message == "held by me@pts0: repair"
    hold = Hold("", "me", NOW.wall + 60)
    ending = plan(inputs(domain(PAUSED), VmState.RUNNING, hold=hold), NOW)
    assert ending.condition("Held").message == f"held by me until {timestamp(NOW.wall + 60)}"
    over = Hold("repair", "me", NOW.wall - 1)
    assert verbs(plan(inputs(domain(PAUSED), VmState.RUNNING, hold=over), NOW)) == [Verb.PAUSE]


def test_a_failed_action_waits_and_stalls_after_three_tries():
    waiting = RetryState((), 1, 1001.0, "StartFailed", "no firmware")
    decided = plan(inputs(attempts=Attempts(failures=waiting)), NOW)
    assert verbs(decided) == []
    assert decided.ready.reason == "BackOff"
    assert decided.look_again_at == 1001.0
    stalled = plan(inputs(attempts=Attempts(failures=replace(waiting, count=3))), NOW)
    assert stalled.condition("Stalled").reason == "StartFailed"
    assert "no firmware" in stalled.ready.message
    later = Now(1001.0, 0.0)
    assert verbs(plan(inputs(attempts=Attempts(failures=waiting)), later)) == [Verb.START]


def test_a_crash_loop_is_slow_and_said():
    times = (995.0, 996.0, 997.0, 998.0, 999.0, 999.5)
    crashes = RetryState(times, 6, 1299.0, "Killed", "killed")
    decided = plan(inputs(attempts=Attempts(crashes=crashes)), NOW)
    assert verbs(decided) == []
    assert decided.condition("Stalled").reason == "CrashLoop"


def test_pain_7_a_drift_fight_is_damped_and_said():
    drift = RetryState((998.0, 999.0, 999.5), 1, 1002.0, "DriftFight", "state was changed")
    attempts = Attempts(drift=drift, observed_generation=1, last_settled_state="running")
    decided = plan(inputs(state=VmState.PAUSED, attempts=attempts), NOW)
    assert verbs(decided) == []
    assert decided.condition("Contested").status is Truth.TRUE
    later = Now(1002.0, 0.0)
    assert verbs(plan(inputs(state=VmState.PAUSED, attempts=attempts), later)) == [Verb.RESUME]
    # What the file wants newly is not drift, and waits for nothing.
    fresh = replace(attempts, observed_generation=0)
    assert verbs(plan(inputs(state=VmState.PAUSED, attempts=fresh), NOW)) == [Verb.RESUME]


def test_rule_7_what_did_not_come_up_is_rolled_back_and_takes_a_fix_at_once():
    good, bad = domain(), domain(memory=256)
    attempts = Attempts(rolled_back_generation=1, rolled_back_because="it did not come up")
    decided = plan(inputs(bad, last_known_good=good, attempts=attempts), NOW)
    assert decided.steps == (Step(Verb.START, rollback=True),)
    assert decided.cause is Cause.ROLLBACK
    back = plan(inputs(bad, VmState.RUNNING, running=good, last_known_good=good,
                       attempts=attempts), NOW)
    assert verbs(back) == []
    assert back.condition("Stalled").reason == "RolledBack"
    fixed = plan(inputs(domain(memory=512), VmState.RUNNING, running=good, last_known_good=good,
                        generation=2, attempts=attempts), NOW)
    assert verbs(fixed) == [Verb.CHECK, Verb.STOP, Verb.START]


def test_pain_8_a_guest_that_powered_off_stays_off_where_the_file_says_so():
    decided = plan(inputs(attempts=Attempts(down_reason="PoweredOff")), NOW)
    assert verbs(decided) == []
    assert decided.ready.reason == "PoweredOff"
    asked = inputs(attempts=Attempts(down_reason="PoweredOff"), restart_asked=True)
    assert verbs(plan(asked, NOW)) == [Verb.START]


def test_pain_8_a_guest_that_rebooted_is_ended_where_the_file_says_so():
    wanted = domain(destroy_on_reboot=True)
    down = Attempts(down_reason="PoweredOff")
    assert verbs(plan(inputs(wanted, VmState.RUNNING, attempts=down), NOW)) == [Verb.STOP]
    assert verbs(plan(inputs(wanted, VmState.ABSENT, attempts=down), NOW)) == []
    assert verbs(plan(inputs(wanted, VmState.RUNNING), NOW)) == []


def test_rule_9_an_attempt_names_the_error_of_the_one_before():
    failed = Attempts(failures=RetryState((1.0,), 2, 0.0, "MissingFile", "a.img: no such file"))
    decided = plan(inputs(state=VmState.ABSENT, attempts=failed), NOW)
    assert verbs(decided) == [Verb.START]
    assert decided.ready.message == "attempt 3; last error: a.img: no such file"
