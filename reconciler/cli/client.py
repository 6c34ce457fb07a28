"""Sends requests to the running reconciler over its command socket."""

from __future__ import annotations

import json
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from reconciler.errors import ConfigError, ReconcilerError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.report.requests import Request
    from reconciler.settings import Settings


class Unreachable(ReconcilerError):
    """No reconciler answers on the command socket."""

    reason = "Unreachable"


def socket_of(settings: Settings) -> Path:
    """The command socket of the reconciler of this state directory, wherever it runs.

    A user's shell, cron and a container may have another XDG_RUNTIME_DIR, or none. Raises
    ConfigError without one, if the state directory does not know where its reconciler runs.
    """
    try:
        configured = settings.api_socket
        if configured.exists():
            return configured
    except ConfigError:
        configured = None
    with suppress(OSError, ValueError, TypeError, KeyError):  # there was none yet
        kept = json.loads((settings.state / "runtime.json").read_bytes())
        found = Path(kept["runtime"]) / "api.sock"
        if configured is None or found.exists():
            return found
    return settings.api_socket if configured is None else configured


def ask(settings: Settings, request: Request, *arguments: str, limit: float = 30.0,
        query: Mapping[str, str] | None = None) -> Any:
    """The reconciler's answer; `arguments` fill the placeholders of the request's path.

    Raises Unreachable, or UsageError with the reconciler's own message if it refuses. `limit` in
    seconds.
    """
    target = request.path(*arguments)
    if query:
        target += f"?{urlencode(query)}"
    from reconciler.cli.connection import exchange
    socket = socket_of(settings)
    try:
        status, body = exchange(socket, request.method, target, limit)
        value = json.loads(body)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise Unreachable(f"no reconciler is running on {socket.parent}",
                          hint="start it with `reconciler run`") from error
    except PermissionError as error:
        raise Unreachable(f"{socket}: permission denied",
                          hint="use the account that runs the reconciler") from error
    except TimeoutError as error:
        raise Unreachable(f"the reconciler did not answer within {limit:g} s",
                          hint="`reconciler events` shows its last actions") from error
    except (OSError, ValueError) as error:
        raise Unreachable(f"{socket}: {error}") from error
    if status != HTTPStatus.OK:
        raise UsageError(value.get("error", "refused"), reason=value.get("reason"),
                         hint=value.get("hint", ""))
    return value
