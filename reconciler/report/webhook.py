"""Signatures of a git server's webhook. Pure; secrets are compared in constant time.

The body is not parsed: a webhook only triggers a fetch.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# Header -> forge. GitHub, Gitea and Forgejo sign the body; GitLab sends the secret itself.
_SIGNED = {"x-hub-signature-256": "github", "x-gitea-signature": "gitea"}
_TOKEN = {"x-gitlab-token": "gitlab"}


def signer(headers: Mapping[str, str], body: bytes, secret: bytes) -> str | None:
    """The forge whose header has a valid signature, or None. Header names in lower case."""
    wanted = hmac.new(secret, body, hashlib.sha256).hexdigest()
    for header, forge in _SIGNED.items():
        given = headers.get(header, "").removeprefix("sha256=")
        if hmac.compare_digest(given.encode(), wanted.encode()):
            return forge
    for header, forge in _TOKEN.items():
        if hmac.compare_digest(headers.get(header, "").encode(), secret):
            return forge
    return None


def signature(body: bytes, secret: bytes) -> str:
    """The value of GitHub's signature header for a body that the reconciler sends."""
    return f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}"
