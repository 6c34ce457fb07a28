"""A plan in a file: what it was made of, what it says, and what carrying it out does. Pure.

`apply` makes the plan again first; if anything differs, nothing is done. The file has names and
hashes, no contents; no counters and no times, so that the same state of the host gives the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.engine.decide import prune_evidence
from reconciler.engine.decide.disruption import weigh
from reconciler.engine.decide.inputs import BlockedOn, Removal, WaitsFor
from reconciler.engine.dryrun.plan_view import plan_value
from reconciler.engine.dryrun.snapshot import digest
from reconciler.engine.dryrun.target import Kind, Target
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.engine.dryrun.entry import Drawn
    from reconciler.engine.dryrun.review import Review, Reviewed
    from reconciler.settings import Settings
    from reconciler.sources.listing import Listing

VERSION = 1
_UNTIL_RESTART = (WaitsFor.POLICY, WaitsFor.WINDOW)  # ends when a user restarts the VM
_OF_A_PLAN = ("name", "uuid", "file", "action", "waits", "steps", "blocked")
_OF_A_CHANGE = ("path", "from", "to", "class", "blockedBy")
_PARTS = {"target": dict, "source": dict, "files": dict, "world": dict, "plans": list,
          "write": list, "remove": list, "restart": list, "approve": list}
_WORDS = {"generation": "generation", "definition": "definition", "state": "state of its VM",
          "process": "process", "applied": "definition that its process runs", "domain": "name"}


def plan_file(settings: Settings, target: Target, drawn: Drawn) -> dict[str, Any]:
    """All of it, as JSON has it."""
    fresh, current = _hashes(drawn.listing), _hashes(drawn.current)
    edits = target.kind is not Kind.SOURCE
    return {
        "apiVersion": "reconciler/v1", "kind": "Plan", "version": VERSION,
        "target": {"kind": str(target.kind), "name": target.name,
                   "commit": drawn.listing.commit if drawn.listing is not None else ""},
        "source": {"kind": settings.source.kind, "path": str(settings.domains), "files": current},
        "files": fresh,
        "write": sorted(f for f in fresh if fresh[f] != current.get(f)) if edits else [],
        "remove": sorted(current.keys() - fresh.keys()) if edits else [],
        "restart": [] if edits else _restarts(drawn.review),
        "approve": [] if edits else _approvals(drawn.review),
        "world": {uuid: known.token() for uuid, known in sorted(drawn.snapshot.domains.items())},
        "plans": [_essence(one, settings.arch) for one in drawn.review.domains],
    }


def target_of(value: Any) -> Target:
    """What a plan file is about; raises UsageError where it is not one, or incomplete."""
    try:
        whole = all(isinstance(value[name], kind) for name, kind in _PARTS.items())
        if not whole or value["kind"] != "Plan":
            raise UsageError("plan file is incomplete", hint="make a new plan")
        if value["version"] != VERSION:
            raise UsageError(f"a plan of version {value['version']}; accepted: {VERSION}",
                             hint="make a new plan")
        value["target"]["commit"], value["source"]["path"], value["source"]["files"].keys()
        return Target(Kind(value["target"]["kind"]), str(value["target"]["name"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UsageError("not a plan file",
                         hint="`reconciler plan --out FILE` writes one") from None


def moved(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What changed since the plan was made, for people; nothing if it still holds."""
    found: list[str] = []
    was, is_ = before["target"]["commit"], now["target"]["commit"]
    if was != is_:
        found.append(f"{before['target']['name']}: now at {is_}, was {was}")
    if before["source"]["path"] != now["source"]["path"]:
        found.append(f"the watched directory is {now['source']['path']} now")
    found += _differing("", before["source"]["files"], now["source"]["files"])
    if before["target"]["kind"] != Kind.SOURCE:
        found += _differing(" of the target", before["files"], now["files"])
    found += _world(before["world"], now["world"])
    if not found:
        found += _plans(before, now)
    return found


def _plans(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """What differs though files and VMs are the same: the configuration, a window, a hold."""
    old, new = ({plan["name"]: plan for plan in value["plans"]} for value in (before, now))
    differing = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    for name in differing:
        yield f"{name}: its plan is a different one now"
    rest = ("write", "remove", "restart", "approve")
    if not differing and any(before[key] != now[key] for key in rest):
        yield "carrying it out would not do the same"


def _differing(whose: str, before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    for file in sorted(before.keys() | now.keys()):
        if before.get(file) != now.get(file):
            what = "new" if file not in before else "gone" if file not in now else "changed"
            yield f"{file}{whose}: {what}"


def _world(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for uuid in sorted(before.keys() | now.keys()):
        old, new = before.get(uuid), now.get(uuid)
        if old is None or new is None:
            name = (old or new or {})["domain"]
            yield f"{name}: {'gone' if new is None else 'new'}"
        elif old != new:
            what = ", ".join(word for key, word in _WORDS.items() if old.get(key) != new.get(key))
            yield f"{new['domain']}: changed: {what}"


def _hashes(listing: Listing | None) -> dict[str, str]:
    files = listing.files if listing is not None else {}
    return {file: digest(data) for file, data in sorted(files.items())}


def _essence(one: Reviewed, arch: str) -> dict[str, Any]:
    value = plan_value(one.name, one.uuid, one.file, one.plan, weigh(one.inputs, one.plan, arch))
    return {**{key: value[key] for key in _OF_A_PLAN},
            "changes": [{key: change[key] for key in _OF_A_CHANGE} for change in value["changes"]]}


def _restarts(review: Review) -> list[dict[str, Any]]:
    """Domains whose changes wait for a restart by a user; a held domain waits for its release."""
    return [{"domain": one.name, "uuid": one.uuid, "generation": one.inputs.generation}
            for one in review.domains if not one.plan.held
            and any(p.waits_for in _UNTIL_RESTART for p in one.plan.pending)]


def _approvals(review: Review) -> list[dict[str, Any]]:
    """The sets of domains that wait for approval, by the tokens of the reconciler."""
    held = [one for one in review.domains if one.inputs.removal is Removal.HELD]
    sets = [held] if held else []
    sets += [[one] for one in review.domains if one.plan.blocked_on is BlockedOn.CONFIRMATION]
    return [{"token": prune_evidence.token(one.uuid for one in some),
             "domains": sorted(one.name for one in some)} for some in sets]
