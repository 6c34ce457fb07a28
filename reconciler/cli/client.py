"""Sends requests to the running reconciler over its command socket."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from reconciler.errors import ReconcilerError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.report.requests import Request
    from reconciler.settings import Settings


class Unreachable(ReconcilerError):
    """No reconciler answers on the command socket."""

    reason = "Unreachable"


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
    try:
        status, body = exchange(settings.api_socket, request.method, target, limit)
        value = json.loads(body)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise Unreachable(f"no reconciler is running on {settings.runtime}",
                          hint="start it with `reconciler run`") from error
    except PermissionError as error:
        raise Unreachable(f"{settings.api_socket}: permission denied",
                          hint="use the account that runs the reconciler") from error
    except TimeoutError as error:
        raise Unreachable(f"the reconciler did not answer within {limit:g} s",
                          hint="`reconciler events` shows its last actions") from error
    except (OSError, ValueError) as error:
        raise Unreachable(f"{settings.api_socket}: {error}") from error
    if status != HTTPStatus.OK:
        raise UsageError(value.get("error", "refused"), reason=value.get("reason"),
                         hint=value.get("hint", ""))
    return value
