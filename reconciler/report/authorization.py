"""Authorization of requests over TCP. Pure; on the unix socket the kernel identifies the client.

Health checks are open. Reading is allowed from this host without a token, actions always need it.
Against DNS rebinding (a web page whose own name resolves to this host), the Host header must be
an IP address or localhost, and a request with an Origin needs the token.
"""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from reconciler.report.requests import Right
from reconciler.report.webhook import signer

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST_TOKEN = 4096


@dataclass(frozen=True, slots=True)
class Refusal:
    """The answer to a request that is not allowed."""

    status: HTTPStatus
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Authorization:
    """What the configuration allows. Made for each request, so that secrets may be replaced."""

    loopback: bool
    token: bytes = b""
    secret: bytes = b""

    def refuse(self, right: Right, headers: Mapping[str, str], body: bytes) -> Refusal | None:
        """Why a request that needs this right is refused, or None; header names in lower case."""
        if right is Right.OPEN:
            return None
        if right is Right.SIGNED:
            return self._hook(headers, body)
        if not _is_address(headers.get("host", "")):
            return Refusal(HTTPStatus.MISDIRECTED_REQUEST,
                           "Host header is not an address of this host",
                           "connect by IP address, or to localhost")
        if right is Right.READ and self.loopback and "origin" not in headers:
            return None
        given = headers.get("authorization", "").removeprefix("Bearer ").encode()[:_LONGEST_TOKEN]
        if not self.token:
            return Refusal(HTTPStatus.FORBIDDEN, "no token is configured",
                           "set http.token_file, or use the command socket")
        if not hmac.compare_digest(given, self.token):
            return Refusal(HTTPStatus.UNAUTHORIZED, "the token is missing or wrong",
                           "send Authorization: Bearer TOKEN, with the token in http.token_file")
        return None

    def _hook(self, headers: Mapping[str, str], body: bytes) -> Refusal | None:
        if not self.secret:
            return Refusal(HTTPStatus.FORBIDDEN, "webhooks are disabled",
                           "set source.webhook_secret_file to a file with the secret")
        if signer(headers, body, self.secret) is None:
            return Refusal(HTTPStatus.UNAUTHORIZED, "the signature is missing or wrong",
                           "sign with the secret in source.webhook_secret_file")
        return None


def _is_address(host: str) -> bool:
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    name = name.removeprefix("[").removesuffix("]")
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in ("localhost", "")
    return True
