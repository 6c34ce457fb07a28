"""One HTTP request over a unix socket; for client.py.

On its own, because http.client costs 1.2 MB of memory, and `run` imports all verbs but sends no
request.
"""

from __future__ import annotations

import http.client
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, limit: float) -> None:
        super().__init__("localhost", timeout=limit)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def exchange(path: Path, method: str, target: str, limit: float) -> tuple[int, bytes]:
    """The status and the body of the answer; `limit` in seconds. Raises OSError."""
    connection = _Connection(path, limit)
    try:
        connection.request(method, target)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as error:
        raise ConnectionError(str(error) or "no complete answer") from error
    finally:
        connection.close()
