"""What carrying out a plan costs the guest: what happens to it, and how long it is down. Pure.

After the plan, and never part of a decision: shown to the user who reviews it. How a guest is ended
is decided here once, for the action and for its estimate.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from reconciler.domain.devices import Channel
from reconciler.domain.devices.character import AGENT
from reconciler.domain.model import Impact, MachineType
from reconciler.domain.policy import StopMode, UpdatePolicy
from reconciler.engine.decide.changes import needs_new_process
from reconciler.engine.decide.inputs import STARTS, Verb, VmState
from reconciler.stratovirt.observation import EndedBy
from reconciler.units import show_seconds

if TYPE_CHECKING:
    from reconciler.domain.model import Domain
    from reconciler.engine.decide.inputs import Inputs, Pending, Plan

START = 1.0  # seconds until a process is up, rounded up; how long its guest boots is not known
GRACE = 30.0  # seconds for a guest whose definition is not known any more


class Action(StrEnum):
    """A plan in one word."""

    NONE = "none"
    START = "start"
    UPDATE = "update"
    PAUSE = "pause"
    RESUME = "resume"
    RECREATE = "recreate"
    STOP = "stop"
    DESTROY = "destroy"


_BY_VERB = {Verb.UPDATE: Action.UPDATE, Verb.RECONNECT: Action.UPDATE, Verb.PAUSE: Action.PAUSE,
            Verb.RESUME: Action.RESUME, Verb.START: Action.START,
            Verb.START_PAUSED: Action.START}


@dataclass(frozen=True, slots=True)
class Stopping:
    """How a VM is ended: who asks the guest, and how long the guest may take."""

    mode: StopMode
    patience: float  # seconds
    agent: str | None  # the guest agent's socket
    button: bool  # whether the machine has a power button

    @property
    def asks(self) -> bool:
        """Whether the guest can be asked to shut down."""
        return self.mode is StopMode.GRACEFUL and (self.agent is not None or self.button)


def why_not_clean(how: Stopping, ended_by: EndedBy) -> str:
    """Why a VM was ended without a clean shutdown of its guest; empty if the guest ended it."""
    if ended_by in (EndedBy.GUEST, EndedBy.NOTHING):
        return ""
    if how.asks:
        return ("without a clean shutdown: the guest did not shut down within "
                f"{show_seconds(how.patience)}")
    return f"without a clean shutdown: {_why_not_asked(how)}"


def stops_by(how: Stopping) -> str:
    """How a stop would end the VM, in words."""
    if not how.asks:
        return f"power cut ({_why_not_asked(how)})"
    asked = "guest agent" if how.agent is not None else "power button"
    return f"{asked}, for up to {show_seconds(how.patience)}; then power cut"


def _why_not_asked(how: Stopping) -> str:
    if how.mode is StopMode.FORCE:
        return "its file has <stop mode='force'>"
    return "it has no guest agent channel and no power button"


def agent_socket(domain: Domain | None) -> str | None:
    """The socket of the guest agent's channel, relative to the VM's directory; None without."""
    return next((d.path or d.socket for d in domain.devices
                 if isinstance(d, Channel) and d.name == AGENT), None) if domain else None


def stopping(domain: Domain | None, running: Domain | None, arch: str) -> Stopping:
    """By the newest policy, with the devices that the running VM has."""
    policy = domain.policy if domain is not None else None
    button = domain is not None and arch == "aarch64" and domain.machine is MachineType.VIRT
    return Stopping(policy.stop if policy else StopMode.GRACEFUL,
                    policy.stop_timeout if policy else GRACE, agent_socket(running or domain),
                    button)


@dataclass(frozen=True, slots=True)
class Cost:
    """What the guest notices. `down`: seconds at most, None for as long as it stays stopped."""

    down: float | None = 0.0
    text: str = ""


@dataclass(frozen=True, slots=True)
class Weight:
    """A plan for a user who reviews it. `changes`: what each one costs, in their order."""

    action: Action
    waits: bool  # nothing of it is done now
    cost: Cost
    changes: tuple[Cost, ...] = ()


def weigh(inputs: Inputs, plan: Plan, arch: str) -> Weight:
    """What is done, whether now, and what it costs; for the whole and for each change."""
    action = _action(inputs, plan)
    process = _cost(Action.RECREATE, inputs, arch)
    policy = inputs.domain.policy.update if inputs.domain is not None else UpdatePolicy.AUTO
    unnoticed = "with its next start" if inputs.vm.state is VmState.ABSENT else "no effect"
    changes = (*(_of_change(pending, policy, process) for pending in plan.pending),
               *(Cost(text=unnoticed) for _ in plan.no_effect))
    return Weight(action, action is not Action.NONE and not plan.steps,
                  _cost(action, inputs, arch), changes)


def _action(inputs: Inputs, plan: Plan) -> Action:
    verbs = {step.verb for step in plan.steps or plan.blocked}
    if Verb.FORGET in verbs or (inputs.removal.believed and verbs):
        return Action.DESTROY
    if Verb.STOP in verbs:
        return Action.RECREATE if verbs & STARTS else Action.STOP
    found = next((action for verb, action in _BY_VERB.items() if verb in verbs), None)
    if found is not None:
        return found
    waiting = [p for p in plan.pending if not p.waits_for_guest]
    if not waiting or inputs.domain is None:
        return Action.NONE
    new = needs_new_process(waiting, inputs.domain.policy.update)
    return Action.RECREATE if new else Action.UPDATE


def _of_change(pending: Pending, policy: UpdatePolicy, process: Cost) -> Cost:
    if needs_new_process([pending], policy):
        return process
    live = pending.change.impact is Impact.LIVE
    return Cost(text="while it runs" if live else "the guest does not notice")


def _cost(action: Action, inputs: Inputs, arch: str) -> Cost:
    if action is Action.PAUSE:
        return Cost(None, "guest is paused")
    if action not in (Action.RECREATE, Action.STOP, Action.DESTROY):
        return Cost()
    if inputs.vm.state is VmState.ABSENT:
        return Cost(text="nothing runs")
    how = stopping(inputs.domain or inputs.running, inputs.running, arch)
    if action is Action.RECREATE:
        down = (how.patience if how.asks else 0.0) + START
        return Cost(down, f"down about {show_seconds(down)}{_forced(how)}")
    verb = "removed permanently" if action is Action.DESTROY else "stopped"
    if how.asks:
        return Cost(None, f"{verb}, after up to {show_seconds(how.patience)} of shutdown")
    return Cost(None, f"{verb}{_forced(how)}")


def _forced(how: Stopping) -> str:
    """What is added where the guest is not asked to shut down."""
    if how.asks:
        return ""
    if how.mode is StopMode.FORCE:
        return ", by force"
    return ", without a clean shutdown (no agent, no ACPI)"
