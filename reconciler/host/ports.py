"""Checks whether a number that is chosen automatically is free on the host."""

from __future__ import annotations

import socket
from contextlib import closing

from reconciler.domain.devices.graphics import PORT


def free_on_host(kind: str, number: int) -> bool:
    """Whether a TCP port is free. Of CIDs only the kernel knows, at the start of the VM."""
    if kind != PORT:
        return True
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        try:
            probe.bind(("0.0.0.0", number))  # noqa: S104  # free on every address
        except OSError:
            return False
    return True
