"""What carrying out a plan costs the guest: what becomes of it, and how long it is down. Pure.

After the plan, and never part of a decision: shown to whoever reviews it. How a guest is ended is
said here once, for the act and for its estimate.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from reconciler.domain.devices import Channel
from reconciler.domain.devices.character import AGENT
from reconciler.domain.model import Impact, MachineType, StopMode, UpdatePolicy
from reconciler.engine.decide.blockers import STARTS
from reconciler.engine.decide.changes import needs_new_process
from reconciler.engine.decide.inputs import Removal, Verb, VmState
from reconciler.units import show_seconds

if TYPE_CHECKING:
    from reconciler.domain.model import Domain
    from reconciler.engine.decide.inputs import Inputs, Pending, Plan

START = 1.0  # seconds until a process is up, rather more; how long its guest boots nobody knows
GRACE = 30.0  # for a guest of which nothing is known any more


class Action(StrEnum):
    """What a plan is, in one word."""

    NONE = "none"
    START = "start"
    UPDATE = "update"
    PAUSE = "pause"
    RESUME = "resume"
    RECREATE = "recreate"
    STOP = "stop"
    DESTROY = "destroy"


DISRUPTIVE = (Action.RECREATE, Action.DESTROY)  # what nobody asked the guest's users about
_BY_VERB = {Verb.UPDATE: Action.UPDATE, Verb.PAUSE: Action.PAUSE, Verb.RESUME: Action.RESUME,
            Verb.START: Action.START, Verb.START_PAUSED: Action.START}


@dataclass(frozen=True, slots=True)
class Stopping:
    """How a VM is ended: by whom the guest is asked, and how long it may take."""

    mode: StopMode
    patience: float  # seconds
    agent: str | None  # the agent's socket
    button: bool  # whether the machine has a power button

    @property
    def asks(self) -> bool:
        """Whether anything can ask the guest."""
        return self.mode is StopMode.GRACEFUL and (self.agent is not None or self.button)


def stopping(domain: Domain | None, running: Domain | None, arch: str) -> Stopping:
    """By the newest policy, through what the process that runs has got."""
    policy = domain.policy if domain is not None else None
    has = running or domain
    agent = next((d.path or d.socket for d in has.devices
                  if isinstance(d, Channel) and d.name == AGENT), None) if has else None
    button = domain is not None and arch == "aarch64" and domain.machine is MachineType.VIRT
    return Stopping(policy.stop if policy else StopMode.GRACEFUL,
                    policy.stop_timeout if policy else GRACE, agent, button)


@dataclass(frozen=True, slots=True)
class Cost:
    """What the guest notices. `down`: seconds at the most, None for as long as it stays stopped."""

    down: float | None = 0.0
    text: str = ""


@dataclass(frozen=True, slots=True)
class Weight:
    """A plan as somebody who reviews it asks for it. `changes`: what each one costs, in order."""

    action: Action
    waits: bool  # nothing of it is done now
    cost: Cost
    changes: tuple[Cost, ...] = ()


def weigh(inputs: Inputs, plan: Plan, arch: str) -> Weight:
    """What is done, whether now, and what it costs; for the whole and for each change."""
    action = _action(inputs, plan)
    process = _cost(Action.RECREATE, inputs, arch)
    policy = inputs.domain.policy.update if inputs.domain is not None else UpdatePolicy.AUTO
    alive = inputs.vm.state is not VmState.ABSENT
    changes = (*(_of_change(pending, policy, process) for pending in plan.pending),
               *(Cost(text="no effect" if alive else "with its next start")
                 for _ in plan.no_effect))
    return Weight(action, action is not Action.NONE and not plan.steps,
                  _cost(action, inputs, arch), changes)


def _action(inputs: Inputs, plan: Plan) -> Action:
    verbs = {step.verb for step in plan.steps or plan.blocked}
    gone = inputs.removal in (Removal.PROVEN, Removal.APPROVED) and verbs
    if gone or Verb.FORGET in verbs:
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
        return Cost(None, "stands still")
    if action not in (Action.RECREATE, Action.STOP, Action.DESTROY):
        return Cost()
    if inputs.vm.state is VmState.ABSENT:
        return Cost(text="nothing runs")
    how = stopping(inputs.domain or inputs.running, inputs.running, arch)
    ends = how.patience if how.asks else 0.0
    cut = "" if how.asks else (
        ", by force" if how.mode is StopMode.FORCE else ", cut off: nothing can ask the guest")
    if action is Action.RECREATE:
        return Cost(ends + START, f"down about {show_seconds(ends + START)}{cut}")
    within = f", within about {show_seconds(ends)}" if how.asks else cut
    return Cost(None, f"{'ends for good' if action is Action.DESTROY else 'ends'}{within}")
