"""Tells others what became of a revision: a command of the operator's, a webhook, or both.

No shell, a limit of time for each, three tries for a webhook. What fails is told; it stops nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from reconciler.host import secret_file
from reconciler.report.webhook import signature

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

TRIES, PAUSE = 3, 2.0  # seconds, doubled
_TAIL = 500  # characters of what a failing command said
_FORBIDDEN = 300  # and above: no success, and redirects are not followed


class PostFailed(Exception):
    """It could not be told; the message is for the journal."""


async def run(command: Sequence[str], value: Mapping[str, str], limit: float) -> None:
    """Run a command with the value as RECONCILER_… in its environment and as JSON on its input."""
    environment = {**os.environ, **{f"RECONCILER_{key.upper()}": item
                                    for key, item in value.items()}}
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE, env=environment, start_new_session=True)
    except (OSError, ValueError) as error:
        raise PostFailed(f"{command[0]}: {error}") from error
    try:
        async with asyncio.timeout(limit):
            _, said = await process.communicate(json.dumps(value).encode() + b"\n")
    except TimeoutError as error:
        raise PostFailed(f"{command[0]} takes longer than {limit:g} s") from error
    finally:
        with suppress(ProcessLookupError):  # it and whatever it started
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    if process.returncode:
        tail = said.decode(errors="replace").strip()[-_TAIL:]
        raise PostFailed(f"{command[0]} ended with status {process.returncode}: {tail}")


async def send(url: str, value: Mapping[str, str], secret: bytes, limit: float) -> None:
    """POST the value as JSON, signed if there is a secret, up to three times."""
    body = json.dumps(value).encode()
    problem = ""
    for number in range(TRIES):
        if number:
            await asyncio.sleep(PAUSE * 2 ** (number - 1))
        problem = await asyncio.to_thread(_post, url, body, secret, limit)
        if not problem:
            return
    raise PostFailed(f"{shown(url)}: {problem}")


def shown(url: str) -> str:
    """An address for people, without what of it may be a secret: all but scheme and host."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{re.split('[/?#]', rest)[0].rpartition('@')[2]}"


def _post(url: str, body: bytes, secret: bytes, limit: float) -> str:
    """One try, in a thread: why it failed, or nothing."""
    import http.client  # noqa: PLC0415  # 20 ms that only those pay who have a webhook
    from urllib.parse import urlsplit  # noqa: PLC0415  # as above

    parts = urlsplit(url)
    kind = {"https": http.client.HTTPSConnection, "http": http.client.HTTPConnection}.get(
        parts.scheme)
    if kind is None or parts.hostname is None:
        return "accepted: an address that begins with https:// or http://"
    headers = {"Content-Type": "application/json"}
    if secret:
        headers["X-Hub-Signature-256"] = signature(body, secret)
    target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    try:
        connection = kind(parts.hostname, parts.port, timeout=limit)
        try:
            connection.request("POST", target, body, headers)
            status = connection.getresponse().status
        finally:
            connection.close()
    except http.client.InvalidURL:  # its message repeats what was wrong
        return "accepted: an address without spaces or control characters"
    except (OSError, http.client.HTTPException, ValueError) as error:
        return str(error) or type(error).__name__
    return f"it answered {status}" if status >= _FORBIDDEN else ""


def read_secret(file: Path | None) -> bytes:
    """What a secret file holds; raises PostFailed when it cannot be read."""
    if file is None:
        return b""
    try:
        return secret_file.read_secret(file)
    except OSError as error:
        raise PostFailed(f"{file}: {error.strerror}") from error
