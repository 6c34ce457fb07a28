"""The process of a trial (parse_trial.py): parses what comes on its standard input, and ends."""

import os
import resource
import sys
from contextlib import suppress
from pathlib import Path


def main() -> None:
    """Within the processor time of the first argument, in seconds."""
    limit = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from reconciler.domain.model import InvalidDomain  # noqa: PLC0415  # not before the limits
    from reconciler.domain.xml import identity_in, parse  # noqa: PLC0415

    data = sys.stdin.buffer.read()
    with suppress(InvalidDomain):
        parse(data, "")
    identity_in(data)
    os._exit(0)  # without taking the tree apart


if __name__ == "__main__":
    main()
