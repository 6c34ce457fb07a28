"""What a plan costs the guest, in the words that a user reads; and how a guest is ended."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.domain.devices import Channel, Interface
from reconciler.domain.devices.character import AGENT
from reconciler.domain.difference import Change
from reconciler.domain.model import Impact, MachineType
from reconciler.domain.policy import DesiredState, StopMode, UpdatePolicy
from reconciler.engine.decide.disruption import (
    Action,
    Cost,
    Stopping,
    Weight,
    agent_socket,
    stopping,
    weigh,
)
from reconciler.engine.decide.inputs import (
    STOP,
    Pending,
    Plan,
    Removal,
    Step,
    Verb,
    VmState,
    WaitsFor,
)
from tests.values import domain, inputs

OURS = Channel(alias="channel0", name=AGENT, number=1)
OTHER = Channel(alias="channel1", name="org.example", number=2)
CARD = Interface(alias="net0", tap="tap-a", mac="52:54:00:00:00:01")
ASKED = replace(domain(), devices=(CARD, OTHER, OURS))
START, CHECK, FORGET = Step(Verb.START), Step(Verb.CHECK), Step(Verb.FORGET)
MEMORY = Pending(Change("memory", "1", "2", Impact.RECREATE))
LIVE = Pending(Change("current_memory", "1", "2", Impact.LIVE))
HOST = Pending(Change("interface[x]/bridge", "a", "b", Impact.HOST))
TITLE = Change("title", "a", "b", Impact.NONE)
RECREATE = Plan((CHECK, STOP, START))


def weight(plan, wanted=None, state=VmState.RUNNING, arch="x86_64", **values):
    return weigh(inputs(wanted, state, **values), plan, arch)


def test_the_agent_is_found_by_the_name_of_its_channel():
    assert agent_socket(None) is None
    assert agent_socket(replace(domain(), devices=(OTHER,))) is None
    assert agent_socket(ASKED) == "agent.sock"
    assert agent_socket(replace(domain(), devices=(replace(OURS, path="/run/a"),))) == "/run/a"


def test_a_guest_is_ended_by_the_newest_policy_with_the_devices_of_what_runs():
    policy = domain(stop=StopMode.FORCE, stop_timeout=7.0)
    assert stopping(policy, ASKED, "x86_64") == Stopping(StopMode.FORCE, 7.0, "agent.sock", False)
    assert stopping(ASKED, domain(), "x86_64").agent is None
    assert stopping(ASKED, None, "x86_64").agent == "agent.sock"
    for arch in ("x86_64", "aarch64"):
        assert stopping(None, None, arch) == Stopping(StopMode.GRACEFUL, 30.0, None, False)


@pytest.mark.parametrize(("machine", "arch", "button"), [
    (MachineType.VIRT, "aarch64", True), (MachineType.VIRT, "x86_64", False),
    (MachineType.MICROVM, "aarch64", False)])
def test_only_virt_on_aarch64_has_a_power_button(machine, arch, button):
    assert stopping(replace(domain(), machine=machine), None, arch).button is button


@pytest.mark.parametrize(("how", "asks"), [
    (Stopping(StopMode.GRACEFUL, 1.0, "x", False), True),
    (Stopping(StopMode.GRACEFUL, 1.0, None, True), True),
    (Stopping(StopMode.GRACEFUL, 1.0, None, False), False),
    (Stopping(StopMode.FORCE, 1.0, "x", True), False)])
def test_a_guest_is_asked_where_something_can_ask_it(how, asks):
    assert how.asks is asks


@pytest.mark.parametrize(("wanted", "cost"), [
    (ASKED, Cost(31.0, "down about 31 s")),
    (domain(), Cost(1.0, "down about 1 s, without a clean shutdown (no agent, no ACPI)")),
    (domain(stop=StopMode.FORCE), Cost(1.0, "down about 1 s, by force"))])
def test_a_recreate_is_down_for_the_stop_and_the_start(wanted, cost):
    assert weight(RECREATE, wanted, running=wanted) == Weight(Action.RECREATE, False, cost)


@pytest.mark.parametrize(("steps", "action", "verb"), [
    ((STOP,), Action.STOP, "stopped"), ((STOP, FORGET), Action.DESTROY, "removed permanently")])
@pytest.mark.parametrize(("wanted", "how"), [
    (ASKED, ", after up to 30 s of shutdown"),
    (domain(), ", without a clean shutdown (no agent, no ACPI)"),
    (domain(stop=StopMode.FORCE), ", by force")])
def test_a_stop_lasts(steps, action, verb, wanted, how):
    assert weight(Plan(steps), wanted, running=wanted) == Weight(
        action, False, Cost(None, verb + how))


def test_what_is_stopped_is_ended_by_its_definition_or_by_that_of_what_runs():
    known = inputs(ASKED, VmState.RUNNING)
    unread = replace(known, domain=None, running=ASKED)
    assert weigh(unread, Plan((STOP,)), "x86_64").cost.text == (
        "stopped, after up to 30 s of shutdown")
    forced = replace(unread, running=domain(stop=StopMode.FORCE))
    assert weigh(forced, Plan((STOP,)), "x86_64").cost.text == "stopped, by force"
    newer = replace(known, domain=domain(stop=StopMode.FORCE))
    assert weigh(newer, Plan((STOP,)), "x86_64").cost.text == "stopped, by force"


@pytest.mark.parametrize(("steps", "action", "cost"), [
    ((START,), Action.START, Cost()), ((Step(Verb.START_PAUSED),), Action.START, Cost()),
    ((Step(Verb.PAUSE),), Action.PAUSE, Cost(None, "guest is paused")),
    ((Step(Verb.RESUME),), Action.RESUME, Cost()), ((Step(Verb.UPDATE),), Action.UPDATE, Cost()),
    ((), Action.NONE, Cost())])
def test_anything_else_costs_nothing(steps, action, cost):
    assert weight(Plan(steps)) == Weight(action, False, cost)


@pytest.mark.parametrize("steps", [(STOP,), (FORGET,), (STOP, FORGET)])
def test_each_step_of_a_removal_is_a_removal(steps):
    found = weight(Plan(steps), removal=Removal.PROVEN)
    assert found.action is Action.DESTROY
    assert weight(Plan((FORGET,)), state=VmState.ABSENT).cost == Cost(text="nothing runs")
    assert weight(Plan(), removal=Removal.PROVEN).action is Action.NONE


def test_what_is_blocked_waits():
    found = weight(Plan(blocked=RECREATE.steps))
    assert (found.action, found.waits) == (Action.RECREATE, True)
    assert not weight(Plan()).waits


@pytest.mark.parametrize(("pending", "policy", "action"), [
    (replace(MEMORY, waits_for=WaitsFor.WINDOW), UpdatePolicy.AUTO, Action.RECREATE),
    (replace(LIVE, waits_for=WaitsFor.POLICY), UpdatePolicy.AUTO, Action.UPDATE),
    (replace(LIVE, waits_for=WaitsFor.POLICY), UpdatePolicy.RECREATE, Action.RECREATE),
    (replace(LIVE, waits_for=WaitsFor.GUEST), UpdatePolicy.AUTO, Action.NONE)])
def test_changes_that_wait_for_a_user_or_a_window_are_what_would_be_done(pending, policy, action):
    found = weight(Plan(pending=(pending,)), domain(update=policy))
    assert (found.action, found.waits) == (action, action is not Action.NONE)
    unread = replace(inputs(state=VmState.RUNNING), domain=None)
    assert weigh(unread, Plan(pending=(pending,)), "x86_64").action is Action.NONE


def test_each_change_has_its_cost_and_those_without_effect_come_last():
    found = weight(Plan((CHECK, STOP, START), pending=(MEMORY, LIVE, HOST), no_effect=(TITLE,)))
    process = Cost(1.0, "down about 1 s, without a clean shutdown (no agent, no ACPI)")
    assert found.changes == (process, Cost(text="while it runs"),
                             Cost(text="the guest does not notice"), Cost(text="no effect"))
    found = weight(Plan((START,), no_effect=(TITLE,)), state=VmState.ABSENT)
    assert found.changes == (Cost(text="with its next start"),)
    found = weight(Plan((CHECK, STOP, START), pending=(LIVE,)), domain(
        update=UpdatePolicy.RECREATE))
    assert found.changes == (process,)


def test_a_domain_that_is_to_be_stopped_and_is_not_there_costs_nothing():
    assert weight(Plan((STOP,)), domain(DesiredState.STOPPED), VmState.ABSENT).cost == Cost(
        text="nothing runs")
