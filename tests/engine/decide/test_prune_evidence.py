"""Removal on evidence, on values alone: rule 6."""

from hypothesis import given
from hypothesis import strategies as st

from reconciler.engine.decide import prune_evidence
from reconciler.engine.decide.inputs import Removal
from reconciler.engine.decide.prune_evidence import Absences, Rules

RULES = Rules()


def after(absent, known, seconds=2.0, absences=None):
    """Two listings without `absent`, so many seconds apart."""
    absences = prune_evidence.seen(absences or Absences(), absent, 100.0)
    absences = prune_evidence.seen(absences, absent, 100.0 + seconds)
    return prune_evidence.judge(absences, known, RULES, 100.0 + seconds)


def test_pain_1_rule_6_two_listings_far_enough_apart():
    assert after({"a"}, {"a", "b"}, seconds=1.9)[0] == {}
    assert after({"a"}, {"a", "b"})[0] == {"a": Removal.PROVEN}


def test_rule_6_a_file_that_is_back_was_never_gone():
    absences = prune_evidence.seen(Absences(), {"a"}, 100.0)
    absences = prune_evidence.seen(absences, set(), 101.0)
    absences = prune_evidence.seen(absences, {"a"}, 102.0)
    assert prune_evidence.judge(absences, {"a"}, RULES, 103.0)[0] == {}


def test_pain_1_rule_6_many_at_once_are_held_until_approved_or_back():
    known = {"a", "b", "c", "d"}
    verdicts, absences = after({"a", "b", "c"}, known)
    assert set(verdicts.values()) == {Removal.HELD}
    approved = prune_evidence.approve(absences, ["a", "b", "c"])
    assert prune_evidence.approve(absences, ["d"]).approved == frozenset()  # it is not absent
    assert set(prune_evidence.judge(approved, known, RULES,
                                    110.0)[0].values()) == {Removal.APPROVED}
    back = prune_evidence.seen(absences, set(), 104.0)
    assert prune_evidence.judge(back, known, RULES, 104.0) == ({}, Absences())


def test_rule_6_some_that_are_back_say_nothing_about_the_others():
    known = {"a", "b", "c", "d", "e"}
    _, absences = after({"a", "b", "c"}, known)
    for still in ({"a", "b"}, {"a"}):
        absences = prune_evidence.seen(absences, still, 105.0)
        verdicts, absences = prune_evidence.judge(absences, known, RULES, 105.0)
        assert verdicts == dict.fromkeys(still, Removal.HELD)
    approved = prune_evidence.approve(absences, ["a"])
    assert prune_evidence.judge(approved, known, RULES, 105.0)[0] == {"a": Removal.APPROVED}


def test_pain_1_rule_6_a_removal_that_is_seen_half_way_is_held_as_a_whole():
    """`rm -rf` takes its time: what went first is not believed before the rest is known."""
    known, absences = set("abcdefg"), Absences()
    for at, gone in ((100.0, "a"), (101.0, "abc"), (101.9, "abcd")):
        absences = prune_evidence.seen(absences, gone, at)
        verdicts, absences = prune_evidence.judge(absences, known, RULES, at)
        assert verdicts == {}
    for at in (102.0, 103.0, 104.0):
        absences = prune_evidence.seen(absences, "abcd", at)
        verdicts, absences = prune_evidence.judge(absences, known, RULES, at)
        assert set(verdicts.values()) == {Removal.HELD}
    assert set(verdicts) == set("abcd")


def test_rule_6_what_was_held_before_a_restart_is_held_from_the_first_look():
    absences = Absences({"a": 100.0}, {"a": 100.0}, held=frozenset({"a"}))
    verdicts, absences = prune_evidence.judge(absences, {"a", "b"}, RULES, 100.1)
    assert verdicts == {}
    assert prune_evidence.judge(absences, {"a", "b"}, RULES, 103.0)[0] == {"a": Removal.HELD}


def test_pain_1_the_last_file_may_be_deleted():
    assert after({"a"}, {"a"})[0] == {"a": Removal.PROVEN}
    assert set(after({"a", "b"}, {"a", "b"})[0].values()) == {Removal.PROVEN}


def test_pain_1_half_is_not_more_than_half():
    known = {"a", "b", "c", "d", "e", "f"}
    assert set(after({"a", "b", "c"}, known)[0].values()) == {Removal.PROVEN}
    assert set(after({"a", "b", "c", "d"}, known)[0].values()) == {Removal.HELD}


def test_what_is_believed_stays_believed_when_more_follow():
    known = {"a", "b", "c", "d"}
    _, absences = after({"a"}, known)
    verdicts, _ = prune_evidence.judge(prune_evidence.seen(absences, {"a", "b"}, 103.0), known,
                                       RULES, 106.0)
    assert verdicts == {"a": Removal.PROVEN, "b": Removal.PROVEN}


def test_pruning_can_be_switched_off():
    absences = prune_evidence.seen(Absences(), {"a"}, 0.0)
    assert prune_evidence.judge(absences, {"a"}, Rules(enabled=False), 100.0)[0] == {}


def test_pain_1_a_token_names_exactly_a_set():
    both = prune_evidence.token(["a", "b"])
    assert both == prune_evidence.token(["b", "a"]) != prune_evidence.token(["a"])


@given(st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 1e9), min_size=1),
       st.floats(0, 1e9), st.floats(0, 100))
def test_rule_6_what_is_not_believed_yet_is_looked_at_again(since, now, settle):
    rules = Rules(settle=settle)
    verdicts, absences = prune_evidence.judge(Absences(since, since), since.keys(), rules, now)
    again = prune_evidence.next_look(absences, rules, now)
    unripe = since.keys() - verdicts.keys()
    assert (again is not None and again > 0) == bool(unripe)


def test_rule_6_the_clock_of_the_proof_starts_with_the_first_certain_look():
    absences = prune_evidence.seen(Absences(), {"a"}, 100.0, uncertain={"a"})
    assert prune_evidence.judge(absences, {"a", "b"}, RULES, 200.0)[0] == {}
    absences = prune_evidence.seen(absences, {"a"}, 200.0)
    assert prune_evidence.judge(absences, {"a", "b"}, RULES, 200.0)[0] == {}
    assert absences.since == {"a": 100.0}
    absences = prune_evidence.seen(absences, {"a"}, 201.0, uncertain={"a"})  # says nothing new
    absences = prune_evidence.seen(absences, {"a"}, 202.0)
    assert prune_evidence.judge(absences, {"a", "b"}, RULES, 202.0)[0] == {"a": Removal.PROVEN}
