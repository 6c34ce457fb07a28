"""The simulator's command, run by its path or as `python -m reconciler.simulator`."""

import sys


def _main() -> int:
    """Find the package, however it was started, and run it."""
    if __package__:
        from .process import main

        return main(sys.argv[1:])
    # Started by its path: make this folder a package named "simulator", and leave the path clean.
    folder = __file__.rpartition("/")[0] or "."
    above = folder + "/.."
    sys.path.insert(0, above)
    entry = __import__("simulator.process", fromlist=["main"])
    sys.path.remove(above)
    return int(entry.main(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(_main())
