"""Which words of a process's command line are StratoVirt's arguments."""

import pytest

from reconciler.stratovirt.binary import arguments_of, simulator


@pytest.mark.parametrize("words", [
    ["/usr/bin/stratovirt", "-name", "a"], ["stratovirt-2.5", "-name", "a"],
    ["/opt/own", "-name", "a"], [*simulator().program, "-name", "a"],
    ["python3", "-m", "reconciler.simulator", "-name", "a"]])
def test_what_stands_before_them_is_the_program(words):
    assert arguments_of(words, ("/opt/own",)) == ["-name", "a"]


@pytest.mark.parametrize("words", [
    [], ["/usr/bin/qemu-system-x86_64", "-name", "a"], ["vi", "stratovirt"], ["/opt/other"],
    ["sh", "-c", "a", "b", "c", "/x/reconciler/simulator"]])
def test_another_program_has_none(words):
    assert arguments_of(words, ("/opt/own",)) is None
