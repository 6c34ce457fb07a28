"""The numbers of rules and pains in the names of tests are those that exist."""

from __future__ import annotations

import re
from pathlib import Path

from tests.numbers import KNOWN, PAINS, RULES, carried, missing

ARCHITECTURE = Path(__file__).parents[1] / "docs" / "architecture.md"


def test_no_test_names_a_rule_or_a_pain_that_does_not_exist(request):
    for item in request.session.items:
        for kind, number in carried(item.name.partition("[")[0]):
            assert number in KNOWN[kind], item.nodeid


def test_names_are_read():
    assert carried("test_pain_9_rules_1_and_2_hold") == {("pain", 9), ("rule", 1), ("rule", 2)}
    assert carried("test_rule_11") == {("rule", 11)}
    assert carried("test_a_rule_of_thumb") == set()
    assert carried("test_terrains_1_x") == set()


def test_a_number_without_a_passed_test_is_missing():
    rules = {f"tests/test_x.py::test_rule_{number}_holds[a::b]" for number in RULES}
    pains = {f"tests/simulated/test_x.py::test_pain_{number}_is_avoided" for number in PAINS}
    assert missing(rules | pains) == []
    assert missing(rules | pains - {"tests/simulated/test_x.py::test_pain_6_is_avoided"}) == [
        f"pain 6: {PAINS[6]}"]
    # A pain needs a test with real processes.
    assert len(missing(rules | {"tests/domain/test_x.py::test_pain_6_is_avoided"})) == len(PAINS)


def test_the_document_of_the_architecture_lists_the_rules():
    if ARCHITECTURE.exists():
        text = ARCHITECTURE.read_text()
        section = re.search(r"^#+ [^\n]*(?:[Rr]ules|always holds)[^\n]*\n(.*?)(?=^#|\Z)", text,
                            re.MULTILINE | re.DOTALL)
        assert section, "a section of the rules"
        assert [int(n) for n in re.findall(r"^(\d+)\. ", section[1], re.MULTILINE)] == list(RULES)
