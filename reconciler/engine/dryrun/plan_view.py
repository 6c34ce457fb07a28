"""Plans and definitions as plain values: what the commands `plan` and `explain` print.

The same functions serve the running reconciler and the commands that work without one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.domain.defaults_report import defaulted_values
from reconciler.domain.difference import values
from reconciler.domain.hot_change import placed
from reconciler.domain.lines import located
from reconciler.domain.numbers import identity
from reconciler.domain.substitute import literal
from reconciler.domain.writer import write
from reconciler.engine.decide.disruption import Action
from reconciler.stratovirt.addresses import lay_out
from reconciler.stratovirt.command_line import Start, arguments

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reconciler.domain.difference import Change
    from reconciler.domain.model import Domain
    from reconciler.domain.place import Place
    from reconciler.domain.policy import Policy
    from reconciler.engine.decide.disruption import Cost, Weight
    from reconciler.engine.decide.inputs import Plan
    from reconciler.stratovirt.addresses import Layout


def plan_value(name: str, uuid: str | None, file: str | None, plan: Plan,
               weight: Weight) -> dict[str, Any]:
    """One domain's plan. No counters and no times: two looks at the same world are equal."""
    changes = [*((p.change, p.blocked_by) for p in plan.pending),
               *((change, "") for change in plan.no_effect)]
    return {
        "name": name, "uuid": uuid, "file": file, "cause": str(plan.cause),
        "action": str(weight.action), "waits": weight.waits,
        "cost": weight.cost.text, "downSeconds": weight.cost.down,
        "steps": [_step(step) for step in plan.steps],
        "blocked": [_step(step) for step in plan.blocked],
        "changes": [_change(file, change, blocked, cost) for (change, blocked), cost in zip(
            changes, weight.changes, strict=True)],
        "conditions": [{"type": c.type, "status": str(c.status), "reason": c.reason,
                        "message": c.message} for c in plan.conditions],
        "changesAnything": plan.changes_anything,
    }


def _change(file: str | None, change: Change, blocked_by: str, cost: Cost) -> dict[str, Any]:
    where, line = located(file or "", change.line)
    return {"path": change.path, "from": change.old, "to": change.new,
            "class": str(change.impact), "blockedBy": blocked_by, "file": where, "line": line,
            "cost": cost.text, "downSeconds": cost.down}


def summary(plans: list[dict[str, Any]]) -> dict[str, int]:
    """How many domains each thing would be done to, now or later; those that wait once more."""
    found = {str(action): sum(plan["action"] == action for plan in plans)
             for action in Action if action is not Action.NONE}
    return {**found, "unchanged": sum(plan["action"] == Action.NONE for plan in plans),
            "waiting": sum(plan["waits"] for plan in plans)}


def expanded_from(file: str, note: str) -> dict[str, str]:
    """What a definition was made from besides its own file, where there is anything."""
    return {"expandedFrom": f"{file}: {note}"} if note else {}


def _step(step: Any) -> dict[str, Any]:
    return {"verb": str(step.verb), **({"rollback": True} if step.rollback else {})}


def explain_domain(domain: Domain, data: bytes, places: Mapping[str, Place], spare: int,
                   program: list[str], home: Path, defaults: Policy) -> dict[str, Any]:
    """Everything filled in: the definition, where devices sit, the command line, the whole file.

    `data` is its file; `defaults` are those of the configuration, which it is read with.
    """
    layout = lay_out(domain, places, spare)
    words = [*program, *arguments(domain, Start(home, layout))]
    filled = defaulted_values(data, domain, dict(layout.places))
    paths = {identity(device): device.path_in_domain for device in domain.devices}
    return {"definition": values(domain),
            "filledIn": [{"what": f.what, "value": f.value, "why": f.why} for f in filled],
            "addresses": {paths[key]: str(place) for key, place in layout.places},
            "rootPorts": {"all": [port.index for port in layout.ports],
                          "freeForHotPlug": list(layout.free_ports())},
            "tree": _tree(layout, paths), "commandLine": words,
            "xml": literal(write(placed(domain, layout.ports, dict(layout.places)), defaults))}


def _tree(layout: Layout, paths: Mapping[str, str]) -> dict[str, dict[str, dict[str, str | None]]]:
    """What sits on pcie.0, by slot and function: a root port and what is behind it, or a device."""
    behind = {place.bus: paths[key] for key, place in layout.places if place.bus}
    found: dict[Place, dict[str, str | None]] = {
        place: {"device": paths[key]} for key, place in layout.places if not place.bus}
    for port in layout.ports:
        if port.place is not None:
            found[port.place] = {"rootPort": f"pcie.{port.index}", "device": behind.get(port.index)}
    tree: dict[str, dict[str, dict[str, str | None]]] = {}
    for place, what in sorted(found.items()):
        tree.setdefault(f"{place.slot:#04x}", {})[f"{place.function:#x}"] = what
    return tree
