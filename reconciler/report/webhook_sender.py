"""Reports the outcome of a revision: runs the configured command, calls the webhook, or both.

No shell is involved, each has a time limit, and a webhook is attempted three times. A failure is
reported to the caller, which goes on.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from reconciler.backoff import Backoff
from reconciler.host import secret_file
from reconciler.report.webhook import signature

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

ATTEMPTS = 3
RETRY = Backoff(first=2.0, longest=60.0)
_TAIL = 500  # characters of the error output of a command that failed
_REDIRECTION = 300  # this and above is a failure; redirects are not followed


class SendFailed(Exception):
    """The outcome could not be reported; the message is for the journal."""


async def run(command: Sequence[str], value: Mapping[str, str], limit: float) -> None:
    """Run a command with the value as RECONCILER_… in its environment and as JSON on its stdin.

    `limit` in seconds; the whole process group is killed after it. Raises SendFailed.
    """
    environment = {**os.environ, **{f"RECONCILER_{key.upper()}": item
                                    for key, item in value.items()}}
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE, env=environment, start_new_session=True)
    except (OSError, ValueError) as error:
        raise SendFailed(f"{command[0]}: {error}") from error
    try:
        async with asyncio.timeout(limit):
            _, errors = await process.communicate(json.dumps(value).encode() + b"\n")
    except TimeoutError as error:
        raise SendFailed(f"{command[0]} timed out after {limit:g} s") from error
    finally:
        with suppress(ProcessLookupError):  # the command and the processes it started
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    if process.returncode:
        tail = errors.decode(errors="replace").strip()[-_TAIL:]
        raise SendFailed(f"{command[0]} exited with status {process.returncode}: {tail}")


async def send(url: str, value: Mapping[str, str], secret: bytes, limit: float) -> None:
    """POST the value as JSON, signed if there is a secret.

    `limit` in seconds for each of three attempts. Raises SendFailed with the last error.
    """
    body = json.dumps(value).encode()
    problem = ""
    for failures in range(ATTEMPTS):
        if failures:
            await asyncio.sleep(RETRY.delay(failures))
        try:
            problem = await asyncio.to_thread(_post, url, body, secret, limit)
        except OSError as error:  # there is no room for a thread
            problem = str(error)
        if not problem:
            return
    raise SendFailed(f"{public(url)}: {problem}")


def public(url: str) -> str:
    """The scheme and the host of a URL. The rest may hold a secret, and is not logged."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{re.split('[/?#]', rest)[0].rpartition('@')[2]}"


def _post(url: str, body: bytes, secret: bytes, limit: float) -> str:
    """One attempt, in a thread: the error, or an empty string."""
    import http.client  # noqa: PLC0415  # 20 ms, needed only with a webhook
    from urllib.parse import urlsplit  # noqa: PLC0415  # as above

    parts = urlsplit(url)
    kind = {"https": http.client.HTTPSConnection, "http": http.client.HTTPConnection}.get(
        parts.scheme)
    if kind is None or parts.hostname is None:
        return "accepted: a URL that begins with https:// or http://"
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
    except http.client.InvalidURL:  # its message repeats the URL
        return "accepted: a URL without spaces or control characters"
    except (OSError, http.client.HTTPException, ValueError) as error:
        return str(error) or type(error).__name__
    return f"HTTP status {status}" if status >= _REDIRECTION else ""


def read_secret(file: Path | None) -> bytes:
    """The content of a secret file, empty for none; raises SendFailed if it cannot be read."""
    if file is None:
        return b""
    try:
        return secret_file.read_secret(file)
    except OSError as error:
        raise SendFailed(f"{file}: {error.strerror}") from error
