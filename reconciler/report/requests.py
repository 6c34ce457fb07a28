"""The table of API requests: method, path and the right that each needs.

The CLI builds its paths from it, the server matches what arrives against it, authorization reads
the right, and engine/api/handlers.py binds one handler to each row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLACEHOLDER = re.compile(r"\{\w+\}")


class Right(Enum):
    """What a client needs over TCP. On the unix socket every request is allowed."""

    OPEN = auto()  # nothing
    READ = auto()  # to come from this host, or the token
    ACT = auto()  # the token
    SIGNED = auto()  # a signature made with the webhook secret


class Request(Enum):
    """Every request that the API answers."""

    LIVE = ("GET", "/livez", Right.OPEN)
    READY = ("GET", "/readyz", Right.OPEN)
    METRICS = ("GET", "/metrics", Right.READ)
    STATUS = ("GET", "/api/v1/status", Right.READ)
    PLAN = ("GET", "/api/v1/plan", Right.READ)
    EXPLAIN = ("GET", "/api/v1/domains/{name}/explain", Right.READ)
    CONSOLES = ("GET", "/api/v1/domains/{name}/console", Right.READ)
    SYNC = ("POST", "/api/v1/sync", Right.ACT)
    START = ("POST", "/api/v1/domains/{name}/start", Right.ACT)
    RESTART = ("POST", "/api/v1/domains/{name}/restart", Right.ACT)
    HOLD = ("POST", "/api/v1/domains/{name}/hold", Right.ACT)
    HOLD_ALL = ("POST", "/api/v1/hold", Right.ACT)
    RELEASE = ("POST", "/api/v1/domains/{name}/release", Right.ACT)
    RELEASE_ALL = ("POST", "/api/v1/release", Right.ACT)
    APPROVE = ("POST", "/api/v1/approvals/{token}", Right.ACT)
    APPROVE_ALL = ("POST", "/api/v1/approvals", Right.ACT)
    WEBHOOK = ("POST", "/hooks/git", Right.SIGNED)

    def __init__(self, method: str, pattern: str, right: Right) -> None:
        self.method = method
        self.pattern = pattern
        self.right = right
        self._steps = tuple(pattern.strip("/").split("/"))

    def path(self, *arguments: str) -> str:
        """The path with its placeholders filled in, in their order."""
        if len(arguments) != len(_PLACEHOLDER.findall(self.pattern)):
            raise ValueError(f"{self.name}: {arguments} do not fill {self.pattern}")
        values = iter(arguments)
        return _PLACEHOLDER.sub(lambda _: quote(next(values), safe=""), self.pattern)

    def arguments(self, path: tuple[str, ...]) -> dict[str, str] | None:
        """The placeholders' values in this path; None if it is the path of another request."""
        if len(path) != len(self._steps):
            return None
        found = {}
        for wanted, step in zip(self._steps, path, strict=True):
            if _PLACEHOLDER.fullmatch(wanted):
                found[wanted.strip("{}")] = step
            elif wanted != step:
                return None
        return found


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it arrived."""

    request: Request
    arguments: Mapping[str, str]  # placeholder in the path -> value
    query: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PlainText:
    """An answer that is not JSON."""

    content_type: str
    text: str


@dataclass(frozen=True, slots=True)
class Unmatched:
    """No request has this method and path. `allowed`: the methods that the path does have."""

    method: str
    path: tuple[str, ...]
    allowed: tuple[str, ...] = ()

    @property
    def right(self) -> Right:
        """What a client needs to be told so: as much as for a request that exists."""
        if Request.WEBHOOK.arguments(self.path) is not None:
            return Right.OPEN
        return Right.READ if self.method == "GET" else Right.ACT

    def answer(self) -> dict[str, Any]:
        """The body of the answer."""
        said = f"{self.method} /{'/'.join(self.path)}"
        if self.allowed:
            return {"error": f"method not allowed: {said}", "reason": "MethodNotAllowed",
                    "hint": f"allowed: {', '.join(self.allowed)}"}
        return {"error": f"no such request: {said}", "reason": "NotFound", "hint": ""}


def match(method: str, path: tuple[str, ...], query: Mapping[str, str]) -> Call | Unmatched:
    """The request with this method and path (its steps, unquoted)."""
    allowed = []
    for request in Request:
        arguments = request.arguments(path)
        if arguments is not None:
            if request.method == method:
                return Call(request, arguments, query)
            allowed.append(request.method)
    return Unmatched(method, path, tuple(allowed))
