"""Whether a number that we may choose is free on the host: asked once, when it is chosen."""

from __future__ import annotations

import socket
from contextlib import closing

from reconciler.domain.devices.graphics import PORT


def free_on_host(claim: str, number: int) -> bool:
    """A port that nobody listens at; of a CID only the kernel knows, when the VM starts."""
    if claim != PORT:
        return True
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        try:
            probe.bind(("0.0.0.0", number))  # noqa: S104  # to see whether anybody has it at all
        except OSError:
            return False
    return True
