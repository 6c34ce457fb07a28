"""What files may use on this host: the section `admission` of the configuration.

Pure and lexical. An empty rule allows everything, except host devices.
"""

from __future__ import annotations

import fnmatch
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.domain.devices import Hostdev, Interface
from reconciler.domain.lines import located
from reconciler.domain.model import Domain, Problem
from reconciler.units import nearest, show_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Devices that every VM may use, since they hold no data.
_COMMON = ("/dev/random", "/dev/urandom", "/dev/vhost-vsock", "/dev/vhost-net")


@dataclass(frozen=True, slots=True)
class Admission:
    """The rules. `own`: the reconciler's own directory of nvram files, which is always allowed."""

    paths: tuple[str, ...] = ()
    max_memory: int | None = None
    max_vcpus: int | None = None
    bridges: tuple[str, ...] = ()
    host_devices: tuple[str, ...] = ()  # patterns such as 0000:03:*; no others are allowed
    require_labels: tuple[str, ...] = ()
    own: str | None = None
    windows: tuple[str, ...] = ()  # names of the configured windows
    max_domains: int = 4096  # of all files together, which loader.py counts


def admit(domain: Domain, rules: Admission) -> tuple[Problem, ...]:
    """Everything that the rules do not allow, with the reason NotAllowed."""
    return tuple(_problems(domain, rules))


def _problems(domain: Domain, rules: Admission) -> Iterator[Problem]:
    lines = dict(domain.lines)

    def problem(line: int, message: str) -> Problem:
        return Problem(*located(domain.file, line or 1), "domain", message, reason="NotAllowed")

    if rules.max_memory is not None and domain.memory > rules.max_memory:
        yield problem(lines.get("memory", 0), f"memory {show_bytes(domain.memory)}; accepted: up "
                      f"to {show_bytes(rules.max_memory)} (admission.max_memory)")
    if rules.max_vcpus is not None and domain.vcpus > rules.max_vcpus:
        yield problem(lines.get("vcpus", 0), f"{domain.vcpus} vcpus; accepted: up to "
                      f"{rules.max_vcpus} (admission.max_vcpus)")
    window = domain.policy.window
    if window is not None and window not in rules.windows:
        accepted = ", ".join(rules.windows) or "none (the configuration has no windows)"
        yield Problem(domain.file, lines.get("policy", 1), "domain/metadata/reconcile/update",
                      f"window='{window}'{nearest(window, rules.windows)}; accepted: {accepted}")
    yield from _outside(domain, rules, problem)
    labels = dict(domain.policy.labels)
    for name in rules.require_labels:
        if name not in labels:
            yield problem(lines.get("policy", 0), f"no label '{name}'; accepted: <r:label "
                          f"name='{name}' value='…'/> (admission.require_labels)")


def _outside(domain: Domain, rules: Admission,
             problem: Callable[[int, str], Problem]) -> Iterator[Problem]:
    """Files, bridges and devices of the host that the rules do not allow."""
    if rules.paths:
        allowed = (*rules.paths, *((rules.own,) if rules.own else ()))
        for path, line in _paths(domain).items():
            if not any(_below(path, root) for root in allowed):
                yield problem(line, f"{path}; accepted: below {', '.join(rules.paths)} "
                                    "(admission.paths)")
    for bridge, line in _bridges(domain):
        if rules.bridges and bridge not in rules.bridges:
            yield problem(line, f"bridge '{bridge}'; accepted: {', '.join(rules.bridges)} "
                                "(admission.bridges)")
    for device in domain.devices:
        if isinstance(device, Hostdev) and not any(
                fnmatch.fnmatchcase(device.host, pattern) for pattern in rules.host_devices):
            accepted = ", ".join(rules.host_devices) or "none"
            yield problem(device.line, f"host device {device.host}; accepted: {accepted} "
                                       "(admission.host_devices)")


def _paths(domain: Domain) -> dict[str, int]:
    """Every path on the host that the VM reads, writes or listens on, with its line."""
    found: dict[str, int] = {}
    for need in domain.required_files():
        for path in filter(None, (need.path, need.template)):
            if need.kind != "character" or path not in _COMMON:
                found.setdefault(path, need.line)
    for device in domain.devices:  # logs and sockets are created, so they are not required files
        own = getattr(device, "path", None)
        if isinstance(own, str) and own not in _COMMON:
            found.setdefault(own, device.line)
    return found


def _bridges(domain: Domain) -> Iterator[tuple[str, int]]:
    for card in domain.devices:
        if isinstance(card, Interface) and card.bridge is not None:
            yield card.bridge, card.line


def _below(path: str, allowed: str) -> bool:
    real = os.path.normpath(path)
    root = os.path.normpath(allowed)
    return real == root or real.startswith(root.rstrip("/") + "/")
