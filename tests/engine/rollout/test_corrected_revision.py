"""A revision that failed is announced once, and once more when it was corrected."""

from __future__ import annotations

import pytest

from reconciler.engine.decide.inputs import BlockedOn, Condition, Plan, Removal, Truth
from reconciler.engine.rollout.revision_status import failing, unsettled
from reconciler.engine.rollout.revisions import Outcome, Result, Revisions, judged
from tests.engine.decide.states import READY, known, with_attempts

FAILED = Outcome("r1", "2026-11-25T00:00:00Z", Result.FAILURE, "not ready: a", announced=True)


@pytest.mark.parametrize(("waiting", "failing_"), [
    (["a"], []), ([], ["a"]), ([], ["b"]), (["a"], ["b"])])
def test_a_failure_stays_and_is_not_announced_again_while_anything_is_not_ready(waiting, failing_):
    assert judged(FAILED, waiting, failing_, 2) is FAILED


def test_a_failure_that_was_corrected_is_a_success_that_is_announced():
    assert judged(FAILED, [], [], 2) == Outcome(
        "r1", FAILED.at, Result.SUCCESS, "2 domains are ready", announced=False)


def test_each_result_is_announced_once(tmp_path):
    announced = []
    revisions = Revisions(tmp_path, lambda outcome: announced.append(outcome.result))
    revisions.accept("r1")
    for waiting, fails in ((["a"], []), ([], ["a"]), ([], ["a"]), ([], ["b"]), (["a"], []),
                           ([], []), ([], ["a"])):
        revisions.judge(waiting, fails, 2)
    assert announced == [Result.PENDING, Result.FAILURE, Result.SUCCESS]


# Which domains a revision waits for, and which fail it


def ready(status, *more, **values):
    return Plan(conditions=(Condition("Ready", status, "x"), *more), **values)


STALLED = Condition("Stalled", Truth.TRUE, "x")
SETTLED = {"observed_generation": 1}


@pytest.mark.parametrize(("plan", "values", "attempts", "open_", "fails"), [
    (READY, {}, SETTLED, False, False),
    (READY, {}, {}, True, False),  # ready with an older generation
    (Plan(), {}, SETTLED, True, False),  # not observed yet
    (ready(Truth.UNKNOWN), {}, SETTLED, True, True),
    (ready(Truth.UNKNOWN, STALLED), {}, SETTLED, False, True),
    (ready(Truth.FALSE), {}, SETTLED, False, True),
    (ready(Truth.FALSE), {}, {}, True, True),
    (ready(Truth.FALSE, unhealthy=True), {}, {}, False, True),
    (ready(Truth.FALSE, blocked_on=BlockedOn.HOLD), {}, {}, False, True),
    # Its file is gone: it needs neither.
    (ready(Truth.UNKNOWN), {"removal": Removal.PROVEN, "planned_for": Removal.PROVEN}, {}, False,
     False),
    (ready(Truth.UNKNOWN, STALLED), {"removal": Removal.PROVEN, "planned_for": Removal.PROVEN}, {},
     False, True),
    (READY, {"removal": Removal.PROVEN}, SETTLED, True, False),  # planned before it was believed
    # Its file was wrong or was corrected, and the plan is of before.
    (READY, {"invalid": "wrong"}, SETTLED, True, False),
    (ready(Truth.FALSE), {"planned_invalid": "wrong"}, SETTLED, True, True),
    (ready(Truth.FALSE), {"invalid": "wrong", "planned_invalid": "wrong"}, SETTLED, False, True)])
def test_what_a_domain_means_for_the_newest_revision(plan, values, attempts, open_, fails):
    state = with_attempts(known(plan=plan, **values), **attempts)
    assert unsettled([state], ()) == (["a"] if open_ else [])
    assert failing([state], ()) == (["a"] if fails else [])


def test_a_domain_whose_file_is_rejected_is_named_once():
    state = with_attempts(known(plan=ready(Truth.FALSE)), **SETTLED)
    file = state.record.definition.file
    rejected = [(file, None), ("x.xml", "a"), ("y.xml", None), ("y.xml", "z")]
    assert failing([state], (), rejected) == ["a", "y.xml"]


def test_a_removal_that_comes_by_itself_is_waited_for_and_one_that_is_held_fails():
    state = with_attempts(known(plan=READY), **SETTLED)
    assert unsettled([state], {state.uuid}) == ["a"]
    assert failing([state], {state.uuid}) == ["a"]
