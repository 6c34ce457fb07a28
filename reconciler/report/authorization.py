"""Who may do what over TCP. Pure; on the unix socket the kernel has said who asks.

Whether we live is anybody's to know. Reading is for the host itself, or for who has the token;
doing takes the token always. A page in somebody's browser must not get here by a name that it
lets point to us: the Host must be an address, or localhost.
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
    """Why not."""

    status: HTTPStatus
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Gate:
    """What the configuration allows; secrets are read anew for each request, so they may change."""

    loopback: bool
    token: bytes = b""
    secret: bytes = b""

    def refuse(self, right: Right, headers: Mapping[str, str], body: bytes) -> Refusal | None:
        """Why a request that needs this right is not answered, or None.

        Header names in lower case.
        """
        if right is Right.OPEN:
            return None
        if right is Right.SIGNED:
            return self._hook(headers, body)
        if not _is_address(headers.get("host", "")):
            return Refusal(HTTPStatus.MISDIRECTED_REQUEST, "the Host is no address of this host",
                           "ask by an address, or as localhost")
        if right is Right.READ and self.loopback and "origin" not in headers:
            return None
        given = headers.get("authorization", "").removeprefix("Bearer ").encode()[:_LONGEST_TOKEN]
        if not self.token:
            return Refusal(HTTPStatus.FORBIDDEN, "this needs a token, and there is none",
                           "set http.token_file, or ask on the command socket")
        if not hmac.compare_digest(given, self.token):
            return Refusal(HTTPStatus.UNAUTHORIZED, "the token is missing or wrong",
                           "Authorization: Bearer TOKEN, of http.token_file")
        return None

    def _hook(self, headers: Mapping[str, str], body: bytes) -> Refusal | None:
        if not self.secret:
            return Refusal(HTTPStatus.FORBIDDEN, "webhooks are not taken",
                           "set source.webhook_secret_file to a file that holds a secret")
        if signer(headers, body, self.secret) is None:
            return Refusal(HTTPStatus.UNAUTHORIZED, "the signature is missing or wrong",
                           "the secret there must be that of source.webhook_secret_file")
        return None


def _is_address(host: str) -> bool:
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    name = name.removeprefix("[").removesuffix("]")
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in ("localhost", "")
    return True
