"""The one function that changes a domain's state. Pure.

What is known, and what happened, give what is known next and what follows for the outside.

control/controller.py calls it, keeps the record on disk if it changed, and performs the effects.
The parts: what happens in the source and by a user (on_source.py), to the VM (on_vm.py), to plans
and actions (on_action.py), to changes of a running VM (on_live_change.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.engine.decide import on_action, on_live_change, on_source, on_vm

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.engine.decide.events import Event
    from reconciler.engine.decide.next_state import Next
    from reconciler.engine.decide.state import DomainState

_HANDLERS: dict[type[Event], Callable[[DomainState, Any], Next]] = {
    **on_source.HANDLERS, **on_vm.HANDLERS, **on_action.HANDLERS, **on_live_change.HANDLERS}


def transition(state: DomainState, event: Event) -> Next:
    """The next state, and its effects in their order."""
    return _HANDLERS[type(event)](state, event)
