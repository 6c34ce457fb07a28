"""What a plan costs the guest: how long it is down, and whether anybody asks it before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.domain.devices import Channel
from reconciler.domain.model import MachineType
from reconciler.domain.policy import DesiredState, PrunePolicy, StopMode, UpdatePolicy
from reconciler.engine.decide.disruption import Stopping, stops_by, weigh, why_not_clean
from reconciler.engine.decide.inputs import Hold, Removal, VmState
from reconciler.engine.decide.plan import plan
from reconciler.stratovirt.observation import EndedBy
from tests.values import NOW, domain, inputs

AGENT = Channel(alias="channel0", name="org.qemu.guest_agent.0", number=0)
NO_SHUTDOWN = "without a clean shutdown (no agent, no ACPI)"
REMOVED = f"removed permanently, {NO_SHUTDOWN}"
RUNNING, ABSENT = VmState.RUNNING, VmState.ABSENT


def weight(found, arch="x86_64"):
    return weigh(found, plan(found, NOW), arch)


def changed(wanted, **applied):
    """A VM that runs with less memory than its new file has."""
    return inputs(wanted, RUNNING, generation=2,
                  vm=replace(inputs(wanted, RUNNING).vm, generation=1),
                  running=replace(wanted, memory=64 << 20, **applied))


@pytest.mark.parametrize(("policy", "agent", "arch", "machine", "down", "text"), [
    ({}, True, "x86_64", MachineType.Q35, 31.0, "down about 31 s"),
    ({"stop_timeout": 120.0}, True, "x86_64", MachineType.Q35, 121.0, "down about 2 min"),
    ({}, False, "x86_64", MachineType.Q35, 1.0,
     f"down about 1 s, {NO_SHUTDOWN}"),
    ({}, False, "aarch64", MachineType.VIRT, 31.0, "down about 31 s"),
    ({}, False, "aarch64", MachineType.MICROVM, 1.0,
     f"down about 1 s, {NO_SHUTDOWN}"),
    ({"stop": StopMode.FORCE}, True, "x86_64", MachineType.Q35, 1.0, "down about 1 s, by force")])
def test_a_recreate_is_down_for_the_stop_and_the_start(policy, agent, arch, machine, down, text):
    wanted = replace(domain(**policy), machine=machine)
    found = weight(changed(wanted, devices=(AGENT,) if agent else ()), arch)
    assert (found.action, found.waits) == ("recreate", False)
    assert (found.cost.down, found.cost.text) == (down, text)
    assert [cost.text for cost in found.changes][0] == text


def test_the_agent_that_counts_is_the_one_of_the_process_that_runs():
    wanted = replace(domain(), devices=(AGENT,))
    assert weight(changed(wanted, devices=())).cost.down == 1.0


@pytest.mark.parametrize(("wanted", "state", "action", "down"), [
    (DesiredState.RUNNING, ABSENT, "start", 0.0), (DesiredState.PAUSED, ABSENT, "start", 0.0),
    (DesiredState.STOPPED, RUNNING, "stop", None), (DesiredState.PAUSED, RUNNING, "pause", None),
    (DesiredState.RUNNING, VmState.PAUSED, "resume", 0.0),
    (DesiredState.RUNNING, RUNNING, "none", 0.0), (DesiredState.STOPPED, ABSENT, "none", 0.0)])
def test_a_state_that_changes(wanted, state, action, down):
    found = weight(inputs(domain(wanted), state))
    assert (found.action, found.cost.down, found.waits) == (action, down, False)


def test_what_the_update_policy_holds_back_is_weighed_as_what_it_will_be():
    found = weight(changed(domain(update=UpdatePolicy.MANUAL)))
    assert (found.action, found.waits) == ("recreate", True)
    assert found.cost.text.startswith("down about")


def test_a_live_change_costs_nothing_unless_the_policy_wants_a_new_process():
    for policy, action, text in ((UpdatePolicy.AUTO, "update", "while it runs"),
                                 (UpdatePolicy.RECREATE, "recreate", "down about 1 s")):
        wanted = replace(domain(update=policy), vcpus=4, current_vcpus=4)
        found = weight(replace(changed(wanted), running=replace(wanted, current_vcpus=2)))
        assert (found.action, found.changes[0].text.partition(",")[0]) == (action, text)


@pytest.mark.parametrize(("removal", "prune", "state", "action", "waits", "text"), [
    (Removal.PROVEN, "destroy", RUNNING, "destroy", False, REMOVED),
    (Removal.PROVEN, "destroy", ABSENT, "destroy", False, "nothing runs"),
    (Removal.HELD, "destroy", RUNNING, "destroy", True, REMOVED),
    (Removal.PROVEN, "confirm", RUNNING, "destroy", True, REMOVED),
    (Removal.PROVEN, "keep", RUNNING, "none", False, "")])
def test_a_removal(removal, prune, state, action, waits, text):
    found = weight(inputs(domain(prune=PrunePolicy(prune)), state, removal=removal))
    assert (found.action, found.waits, found.cost.text) == (action, waits, text)


def test_a_guest_that_can_be_asked_has_its_time_before_it_is_destroyed():
    wanted = replace(domain(), devices=(AGENT,))
    found = weight(inputs(wanted, RUNNING, removal=Removal.PROVEN))
    assert found.cost.text == "removed permanently, after up to 30 s of shutdown"


def test_what_is_stopped_first_and_destroyed_later_is_destroyed():
    found = weight(inputs(domain(prune_after=3600.0), RUNNING, removal=Removal.PROVEN,
                        removal_since=NOW.clock))
    assert (found.action, found.waits) == ("destroy", False)


def test_what_is_held_waits():
    found = weight(replace(inputs(domain()), hold=Hold("", "me")))
    assert (found.action, found.waits) == ("start", True)


@pytest.mark.parametrize(("how", "ended_by", "why", "plan"), [
    (Stopping(StopMode.GRACEFUL, 30.0, "agent.sock", button=False), EndedBy.GUEST, "",
     "guest agent, for up to 30 s; then power cut"),
    (Stopping(StopMode.GRACEFUL, 30.0, "agent.sock", button=False), EndedBy.QUIT,
     "without a clean shutdown: the guest did not shut down within 30 s",
     "guest agent, for up to 30 s; then power cut"),
    (Stopping(StopMode.GRACEFUL, 60.0, None, button=True), EndedBy.KILL,
     "without a clean shutdown: the guest did not shut down within 60 s",
     "power button, for up to 60 s; then power cut"),
    (Stopping(StopMode.GRACEFUL, 30.0, None, button=False), EndedBy.QUIT,
     "without a clean shutdown: it has no guest agent channel and no power button",
     "power cut (it has no guest agent channel and no power button)"),
    (Stopping(StopMode.FORCE, 30.0, "agent.sock", button=True), EndedBy.QUIT,
     "without a clean shutdown: its file has <stop mode='force'>",
     "power cut (its file has <stop mode='force'>)"),
    (Stopping(StopMode.FORCE, 30.0, None, button=False), EndedBy.NOTHING, "",
     "power cut (its file has <stop mode='force'>)")])
def test_a_stop_says_whether_the_guest_was_shut_down(how, ended_by, why, plan):
    assert (why_not_clean(how, ended_by), stops_by(how)) == (why, plan)
