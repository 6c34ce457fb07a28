"""The program: `reconciler VERB`."""

from reconciler.cli.verbs import main

if __name__ == "__main__":
    raise SystemExit(main())
