"""Which rules and which pains the tests cover, by the numbers in their names.

A rule is one of the eleven that always hold (docs/architecture.md); a pain is a failure that other
tools are known for, and that this one must not have. A test carries the numbers of what it shows in
its name: test_pain_1_rule_6_..., test_rules_1_and_2_.... `pytest -m 'rule(number=6)'` runs those of
one rule. A run of the whole suite fails unless each number has a test that passed.
"""

from __future__ import annotations

import re

import pytest

RULES = {
    1: "never two processes for one domain",
    2: "VMs outlive the reconciler",
    3: "a broken file or source stops no VM",
    4: "what means the same does nothing",
    5: "what belongs to others is never touched",
    6: "a VM is destroyed only on positive evidence",
    7: "a recreate that fails is rolled back",
    8: "one bad domain delays no other",
    9: "the status claims nothing that was not observed",
    10: "every action is in the journal before it is taken",
    11: "nothing from a file is used without a check",
}
PAINS = {
    1: "an empty, unmounted or half-fetched source removes everything",
    2: "a rename or a move destroys and creates",
    3: "half-written files and what editors leave behind are taken for domains",
    4: "a VM is restarted although nothing changed",
    5: "an edit is ignored, or destroys without a warning",
    6: "RestartRequired that names one field of many, or is never cleared",
    7: "self-healing fights the operator",
    8: "poweroff, reboot and crash of a guest are confused",
    9: "a restart of the controller kills or forgets VMs",
    10: "a VM that was created but does not work counts as ready",
    11: "a broken rollout blocks its own fix",
    12: "the wrong revision is reported",
    13: "the watcher dies unnoticed",
    14: "everything starts at once at boot, or stops one by one",
    15: "two controllers manage one VM",
    16: "a failed creation leaves half of it behind",
    17: "status is written into git",
    18: "what was removed still shows",
    19: "QMP is spoken wrongly",
}
KNOWN = {"rule": RULES, "pain": PAINS}
# Pains are felt from outside: each needs a test with a real reconciler and VM processes.
WITH_PROCESSES = ("tests/simulated/", "tests/cli/")
_IN_NAME = re.compile(r"(?<=_)(rule|pain)s?_(\d+(?:_and_\d+)*)(?=_|$)")


def carried(name: str) -> set[tuple[str, int]]:
    """The rules and pains in the name of a test function."""
    return {(kind, int(number)) for kind, numbers in _IN_NAME.findall(name)
            for number in numbers.split("_and_")}


def missing(passed: set[str]) -> list[str]:
    """What no test among these node ids shows."""
    found = {(kind, number) for node in passed
             for kind, number in carried(node.partition("[")[0].rpartition("::")[2])
             if kind == "rule" or node.startswith(WITH_PROCESSES)}
    return [f"{kind} {number}: {text}" for kind, table in KNOWN.items()
            for number, text in table.items() if (kind, number) not in found]


class EachNumberPassed:
    """Fails a complete run in which some rule or pain was shown by no test."""

    def __init__(self, config: pytest.Config) -> None:
        self.complete = (config.args_source is pytest.Config.ArgsSource.TESTPATHS
                         and not config.option.keyword and not config.option.markexpr)
        self.passed: set[str] = set()
        self.missing: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self.passed.add(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if self.complete and exitstatus == pytest.ExitCode.OK:
            self.missing = missing(self.passed)
            if self.missing:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.missing:
            terminalreporter.section("rules and pains that no test showed", red=True)
            for line in self.missing:
                terminalreporter.line(line)
