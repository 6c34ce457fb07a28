"""Entry point, run by its path or as `python -m reconciler.simulator`."""

import sys


def _main() -> int:
    """Run the simulator, as a module of the package or by path."""
    if __package__:
        from .process import main

        return main(sys.argv[1:])
    # Started by path: import this directory as a package "simulator", and restore sys.path.
    folder = __file__.rpartition("/")[0] or "."
    above = folder + "/.."
    sys.path.insert(0, above)
    entry = __import__("simulator.process", fromlist=["main"])
    sys.path.remove(above)
    return int(entry.main(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(_main())
