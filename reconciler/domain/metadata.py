"""The `reconcile` element: the desired state and how the domain is looked after."""

from __future__ import annotations

import difflib
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from reconciler.domain.model import (
    Policy,
    PrunePolicy,
    RestartPolicy,
    StopMode,
    UpdatePolicy,
    Wanted,
)

if TYPE_CHECKING:
    from lxml import etree

URN = "urn:stratovirt-reconciler:1"
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
# element -> attribute -> (field of Policy, type)
_TABLE: dict[str, dict[str, tuple[str, Any]]] = {
    "": {"state": ("state", Wanted), "hold": ("hold", bool)},
    "hold": {"reason": ("hold_reason", str), "until": ("hold_until", str)},
    "update": {"policy": ("update", UpdatePolicy)},
    "prune": {"policy": ("prune", PrunePolicy)},
    "stop": {"mode": ("stop", StopMode), "timeout": ("stop_timeout", float)},
    "restart": {"policy": ("restart", RestartPolicy), "limit": ("restart_limit", int),
                "window": ("restart_window", float), "delay": ("restart_delay", float),
                "max-delay": ("restart_max_delay", float)},
}
_ON = {"on_poweroff": ("destroy", "restart"), "on_reboot": ("restart", "destroy"),
       "on_crash": ("destroy", "restart")}


class Reports(Protocol):
    """Where problems go."""

    def error(self, node: etree._Element, message: str, reason: str = ...) -> None:
        """Note an error at a node."""


def seconds(text: str) -> float:
    """A duration such as 500ms, 10s, 5m, 1h in seconds; raises ValueError."""
    match = re.fullmatch(r"([0-9]+)(ms|s|m|h|d)", text.strip())
    if match is None:
        message = f"{text!r} is no duration (accepted: 500ms, 10s, 5m, 1h)"
        raise ValueError(message)
    return int(match[1]) * _SECONDS[match[2]]


def _value(kind: Any, text: str) -> Any:
    if kind is float:
        return seconds(text)
    if kind is int:
        return int(text)
    if kind is bool:
        return {"yes": True, "no": False}[text]
    return kind(text)


def read_policy(reports: Reports, root: etree._Element, defaults: Policy) -> Policy:
    """The policy of a <domain>; the on_ elements decide the restart policy where none is given."""
    policy = replace(defaults, restart=_from_on(reports, root) or defaults.restart)
    found = root.findall(f"metadata/{{{URN}}}reconcile")
    if len(found) > 1:
        reports.error(found[1], "a second <reconcile>; accepted: one")
    if not found:
        return policy
    fields: dict[str, Any] = {}
    for node in (found[0], *found[0]):
        tag = "" if node is found[0] else str(node.tag).removeprefix(f"{{{URN}}}")
        if tag not in _TABLE:
            near = difflib.get_close_matches(tag, list(_TABLE), 1)
            reports.error(node, f"unknown element '{tag}' in reconcile"
                          + (f"; did you mean '{near[0]}'?" if near else ""))
            continue
        for name, text in node.attrib.items():
            entry = _TABLE[tag].get(str(name))
            if entry is None:
                near = difflib.get_close_matches(str(name), list(_TABLE[tag]), 1)
                reports.error(node, f"unknown attribute '{name}'"
                              + (f"; did you mean '{near[0]}'?" if near else "")
                              + f" (accepted: {', '.join(_TABLE[tag])})")
                continue
            try:
                fields[entry[0]] = _value(entry[1], str(text))
            except (ValueError, KeyError):
                accepted = ("yes, no" if entry[1] is bool else "a number" if entry[1] is int
                            else "500ms, 10s, 5m, 1h" if entry[1] is float
                            else ", ".join(entry[1]))
                reports.error(node, f"{name}='{text}', accepted: {accepted}")
    return replace(policy, **fields)


def _from_on(reports: Reports, root: etree._Element) -> RestartPolicy | None:
    values: dict[str, str] = {}
    for tag, accepted in _ON.items():
        node = root.find(tag)
        if node is None:
            continue
        values[tag] = (node.text or "").strip()
        if values[tag] not in accepted:
            reports.error(node, f"found '{values[tag]}', accepted: {', '.join(accepted)}")
    if not values:
        return None
    off = values.get("on_poweroff", "destroy") == "restart"
    crash = values.get("on_crash", "destroy") == "restart"
    if crash:
        return RestartPolicy.ALWAYS if off else RestartPolicy.ON_FAILURE
    return RestartPolicy.NEVER
