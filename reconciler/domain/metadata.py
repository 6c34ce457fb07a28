"""The `reconcile` element and libvirt's on_ elements: the policy of a domain."""

from __future__ import annotations

import datetime as dt
import re
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reconciler.domain.policy import (
    Dependency,
    DependencyCondition,
    DesiredState,
    Health,
    Policy,
    Probe,
    PrunePolicy,
    StopMode,
    UpdatePolicy,
)
from reconciler.domain.rules import (
    DURATION,
    TEXT,
    YES_NO,
    Attribute,
    Element,
    RowVerdict,
    Type,
    choice,
    matching,
    number,
)
from reconciler.domain.value_schema import DURATION as DURATION_SCHEMA
from reconciler.domain.value_schema import FREE, ValueSchema
from reconciler.domain.xml import Node, walk
from reconciler.units import seconds, write_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FAMILY = "urn:stratovirt-reconciler"  # all versions of the namespace
URN = f"{FAMILY}:1"


def _row(name: str, *attributes: Attribute, many: bool = False,
         children: tuple[Element, ...] = ()) -> Element:
    return Element(f"{{{URN}}}{name}", attributes, children, many=many)


# RFC 3339 with a mandatory zone; XML Schema and Python agree on the days of a month.
_TIME = ValueSchema("[12][0-9]{3}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
                    r"(\.[0-9]{1,6})?(Z|[+\-](0[0-9]|1[0-3]):[0-5][0-9])", "dateTime")


def _moment(text: str) -> str:
    """RFC 3339, or a duration since the file was accepted."""
    with suppress(ValueError):
        seconds(text)
        return text
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"found '{text}'; accepted: a time such as 2026-12-24T18:00:00Z, or "
                         "2h") from None
    if found.tzinfo is None or not re.fullmatch(_TIME.pattern, text):
        raise ValueError(f"found '{text}'; accepted: a time with its zone, such as "
                         "2026-12-24T18:00:00Z")
    return text


def _pattern(text: str) -> str:
    """A text to wait for on a console; * matches anything."""
    if not text.strip("*"):
        raise ValueError(f"found '{text}'; accepted: a text, such as login: or ready in * seconds")
    return text


_NAME = matching(r"[A-Za-z_][A-Za-z0-9_]*", "letters, digits and _")
_DOMAIN = matching(r"[A-Za-z0-9][A-Za-z0-9_.+\-]{0,63}", "a domain's name")
_ADDRESS = matching(r"([A-Za-z0-9.\-]{1,253}|\[[0-9a-fA-F:.]{2,45}\]):[0-9]{1,5}",
                    "an address and a port, such as 10.0.0.5:80, [fd00::5]:80")
_PATTERN = Type("a text; * matches anything", _pattern, schemas=(FREE,), exact=False)
RULE = Element(f"{{{URN}}}reconcile", (
    Attribute("state", choice(*DesiredState)), Attribute("hold", YES_NO),
    Attribute("count", number(1, 1000))), (
    _row("hold", Attribute("reason", TEXT),
         Attribute("until", Type("a time such as 2026-12-24T18:00:00Z, or a duration", _moment,
                                 schemas=(_TIME, DURATION_SCHEMA)))),
    _row("update", Attribute("policy", choice(*UpdatePolicy)),
         Attribute("window", TEXT),
         Attribute("rollback", choice("last-good", "none"))),
    _row("prune", Attribute("policy", choice(*PrunePolicy)), Attribute("after", DURATION)),
    _row("stop", Attribute("mode", choice(*StopMode)), Attribute("timeout", DURATION)),
    _row("restart", Attribute("policy", choice("always", "on-failure", "never")),
         Attribute("limit", number(1, 1000)), Attribute("window", DURATION),
         Attribute("delay", DURATION), Attribute("max-delay", DURATION)),
    _row("start", Attribute("wave", number(0, 1000)), Attribute("delay", DURATION)),
    _row("ignore", Attribute("path", TEXT), many=True),
    _row("label", Attribute("name", _NAME), Attribute("value", TEXT), many=True),
    _row("placement", Attribute("host", TEXT), Attribute("require", TEXT, RowVerdict.NOT_YET),
         Attribute("failover", TEXT, RowVerdict.NOT_YET)),
    _row("depends-on", Attribute("domain", _DOMAIN),
         Attribute("condition", choice(*DependencyCondition)),
         many=True),
    _row("health", Attribute("interval", DURATION), Attribute("timeout", DURATION),
         Attribute("failures", number(1, 1000)), Attribute("start-period", DURATION),
         Attribute("on-failure", choice("restart", "none")), children=(
              _row(Probe.TCP, Attribute("address", _ADDRESS)),
              _row(Probe.CONSOLE, Attribute("match", _PATTERN)), _row(Probe.AGENT)))))
# Path within the element, field of Policy, and the conversion of the value.
FIELDS: tuple[tuple[str, str, Any], ...] = (
    ("@state", "state", DesiredState), ("@hold", "hold", bool),
    ("hold/@reason", "hold_reason", str), ("hold/@until", "hold_until", str),
    ("update/@policy", "update", UpdatePolicy), ("update/@window", "window", str),
    ("update/@rollback", "rollback", lambda text: text == "last-good"),
    ("prune/@policy", "prune", PrunePolicy), ("prune/@after", "prune_after", float),
    ("stop/@mode", "stop", StopMode), ("stop/@timeout", "stop_timeout", float),
    ("restart/@limit", "restart_limit", int), ("restart/@window", "restart_window", float),
    ("restart/@delay", "restart_delay", float),
    ("restart/@max-delay", "restart_max_delay", float),
    ("start/@wave", "start_wave", int), ("start/@delay", "start_delay", float),
    ("placement/@host", "host", lambda text: None if text == "auto" else text))
# A child element to write: name, attributes, and the same for a child of its own.
Child = tuple[str, dict[str, str], tuple[str, dict[str, str]] | None]
_TARGETS = {Probe.TCP: "address", Probe.CONSOLE: "match"}
_RESTARTS = {"always": (True, True), "on-failure": (False, True), "never": (False, False)}


def read_policy(domain: Node, defaults: Policy,
                current_path: Callable[[str], str | None]) -> Policy:
    """The policy of a <domain>: the configuration's defaults, the on_ elements, <reconcile>.

    `current_path` returns the path that replaces an older form of it, else None.
    """
    policy = _from_on(domain, defaults)
    node = reconcile_element(domain)
    if node is None:
        return policy
    walk(node)
    values = {name: make(found) for path, name, make in FIELDS
              if (found := node.value(_qualified(path))) is not None}
    restart = node.text(_qualified("restart/@policy"))
    if restart is not None:
        values["restart_on_poweroff"], values["restart_on_failure"] = _RESTARTS[restart]
    values["ignore"] = _ignored(node.children(f"{{{URN}}}ignore"), current_path)
    values["labels"] = _labels(node.children(f"{{{URN}}}label"))
    values["depends_on"] = _dependencies(domain, node.children(f"{{{URN}}}depends-on"))
    values["health"] = _health(node.child(f"{{{URN}}}health"))
    return replace(policy, **values)


def is_placed(domain: Any) -> bool:
    """Whether the file says on which host the domain runs."""
    placement = domain.find(f"metadata/{RULE.name}/{{{URN}}}placement")
    return placement is not None and placement.get("host", "auto").strip() != "auto"


def _ignored(nodes: Iterable[Node],
             current_path: Callable[[str], str | None]) -> tuple[str, ...]:
    found: set[str] = set()
    for node in nodes:
        path = _required(node, "path")
        if path:
            current = current_path(path)
            if current is not None:
                node.warn(f"path='{path}' is an old name, which still works; write "
                          f"path='{current}'")
            found.add(current or path)
    return tuple(sorted(found))


def _dependencies(domain: Node, nodes: Iterable[Node]) -> tuple[Dependency, ...]:
    found: dict[str, Dependency] = {}
    for node in nodes:
        name = _required(node, "domain")
        if name in found:
            node.error(f"a second depends-on '{name}'; accepted: one per domain")
        elif name and name == domain.text("name"):
            node.error("the domain depends on itself; accepted: another domain")
        elif name:
            condition = node.text("@condition") or DependencyCondition.STARTED
            found[name] = Dependency(name, DependencyCondition(condition))
    return tuple(sorted(found.values()))


def _health(node: Node | None) -> Health | None:
    if node is None:
        return None
    probes = [(probe, child) for probe in Probe
              if (child := node.child(f"{{{URN}}}{probe}")) is not None]
    if len(probes) != 1:
        node.error(f"{len(probes) or 'no'} probes; accepted: one of tcp, console, agent")
        return None
    probe, child = probes[0]
    target = _required(child, _TARGETS[probe]) if probe in _TARGETS else ""
    values: dict[str, Any] = {name: node.value(f"@{path}") for path, name in (
        ("interval", "interval"), ("timeout", "timeout"), ("failures", "failures"),
        ("start-period", "start_period"))}
    found = Health(probe, target or "", restart=node.text("@on-failure") == "restart",
                   **{name: value for name, value in values.items() if value is not None})
    if not found.interval or not found.timeout:
        node.error("found an interval or a timeout of 0; accepted: more than 0")
    return found


def _labels(nodes: Iterable[Node]) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for node in nodes:
        name = _required(node, "name")
        if name in found:
            node.error(f"a second label '{name}'; accepted: one per name")
        if name:
            found[name] = node.text("@value") or ""
    return tuple(sorted(found.items()))


def _required(node: Node, attribute: str) -> str | None:
    if node.raw.get(attribute) is None:
        node.error(f"no {attribute}; accepted: {attribute}='…'")
    return node.text(f"@{attribute}")


def _qualified(path: str) -> str:
    """A path of local names in the namespace of <reconcile>."""
    steps, _, attribute = path.rpartition("@")
    return f"{{{URN}}}{steps}@{attribute}" if steps else path


def reconcile_element(domain: Node) -> Node | None:
    """The <reconcile> in <metadata>; other elements of its namespace there are errors."""
    found: Node | None = None
    for metadata in domain.raw.iterchildren("metadata"):
        for raw in metadata.iterchildren():
            tag = str(raw.tag)
            if tag.startswith("{") and not tag.startswith(f"{{{FAMILY}"):
                continue  # another program's metadata
            node = Node(raw, RULE, domain.report,
                        f"{domain.path}/metadata/{tag.rpartition('}')[2]}")
            if tag != RULE.name:
                node.error(f"unknown element '{tag}'; accepted: reconcile in the namespace "
                           f"{URN}, and elements of other namespaces")
            elif found is not None:
                node.error("a second <reconcile>; accepted: one")
            else:
                found = node
    return found


def _from_on(domain: Node, defaults: Policy) -> Policy:
    """Read libvirt's elements; if there is any, libvirt's defaults apply to the others."""
    off, crash = domain.text("on_poweroff"), domain.text("on_crash")
    reboot = domain.text("on_reboot")
    if reboot == "destroy":
        domain.at("on_reboot").warn("destroy: the guest is already rebooting when StratoVirt "
                                    "reports it")
    policy = replace(defaults, destroy_on_reboot=reboot == "destroy")
    if off is None and crash is None:
        return policy
    return replace(policy, restart_on_poweroff=off == "restart",
                   restart_on_failure=crash == "restart")


def written(policy: Policy, defaults: Policy) -> tuple[dict[str, dict[str, str]], bool]:
    """The attributes of the `reconcile` element that turn the defaults into this policy.

    By child element; those of the element itself under an empty name. And whether the on_ elements
    are needed, because no value of `restart/@policy` expresses the combination.
    """
    found: dict[str, dict[str, str]] = {}
    for path, name, _ in FIELDS:
        value = getattr(policy, name)
        if value != getattr(defaults, name):
            steps, _, attribute = path.rpartition("@")
            found.setdefault(steps.rstrip("/"), {})[attribute] = _text(name, value)
    exits = (policy.restart_on_poweroff, policy.restart_on_failure)
    if exits == (defaults.restart_on_poweroff, defaults.restart_on_failure):
        return found, False
    restarts = next((name for name, pair in _RESTARTS.items() if pair == exits), None)
    if restarts is not None:
        found["restart"] = {"policy": restarts, **found.get("restart", {})}
    return found, restarts is None


def nested(policy: Policy) -> tuple[Child, ...]:
    """The children that may be repeated or have a child: name, attributes, that child."""
    found: list[Child] = [("ignore", {"path": path}, None) for path in policy.ignore]
    found += [("label", {"name": name, "value": value}, None) for name, value in policy.labels]
    found += [("depends-on", {"domain": d.domain, "condition": str(d.condition)}, None)
              for d in policy.depends_on]
    health = policy.health
    if health is not None:
        name = _TARGETS.get(health.probe)
        found.append(("health", {
            "interval": write_seconds(health.interval), "timeout": write_seconds(health.timeout),
            "failures": str(health.failures), "start-period": write_seconds(health.start_period),
            "on-failure": "restart" if health.restart else "none"},
            (str(health.probe), {name: health.target} if name else {})))
    return tuple(found)


def _text(name: str, value: object) -> str:
    """A value as its attribute writes it."""
    if name == "rollback":
        return "last-good" if value else "none"
    if name == "host" and value is None:
        return "auto"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return write_seconds(value) if isinstance(value, float) else str(value)
