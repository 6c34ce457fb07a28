"""The verbs; heavy imports only where a verb needs them."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

EXAMPLES = """examples:
  reconciler run                          keep every VM as its file says
  reconciler validate domains/*.xml       all errors of these files
  reconciler status                       a table; -o json for programs
  reconciler events                       what happened
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; returns the exit status."""
    parser = argparse.ArgumentParser(prog="reconciler", epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-c", "--config", type=Path, default=Path("config.yaml"))
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("run", help="watch the domain files and keep the VMs as they say")
    status = verbs.add_parser("status", help="the last known truth")
    status.add_argument("-o", dest="output", choices=("table", "json"), default="table")
    validate = verbs.add_parser("validate", help="check domain files; exit 1 when one is invalid")
    validate.add_argument("files", nargs="+", type=Path)
    verbs.add_parser("events", help="the journal")
    verbs.add_parser("plan", help="what would be done; exit 0 nothing, 1 changes, 2 an error")
    create = verbs.add_parser("create", help="put a checked file into the watched directory")
    create.add_argument("file", type=Path)
    for verb, text in (("destroy", "take the domain's file away"),
                       ("suspend", "write state paused into the file"),
                       ("resume", "write state running into the file"),
                       ("start", "write state running into the file"),
                       ("stop", "write state stopped into the file")):
        verbs.add_parser(verb, help=text).add_argument("name")
    options = parser.parse_args(arguments)

    from reconciler.settings import BadConfig, load

    try:
        settings = load(options.config)
        if options.verb == "run":
            return _run(settings)
        if options.verb == "validate":
            return _validate(settings, options.files)
        if options.verb == "events":
            sys.stdout.write((settings.state / "events.jsonl").read_text())
            return 0
        if options.verb == "status":
            return _status(settings, options.output)
        if options.verb == "plan":
            from reconciler.cli.plan import plan

            return plan(settings)
        from reconciler.cli import files

        if options.verb == "create":
            return files.create(settings, options.file)
        return files.change(settings, options.verb, options.name)
    except BadConfig as error:
        print(f"reconciler: {error}", file=sys.stderr)
        return 1
    except FileNotFoundError as error:
        print(f"reconciler: {error.filename} is not there; has `reconciler run` been started?",
              file=sys.stderr)
        return 2


def _run(settings) -> int:  # type: ignore[no-untyped-def]  # the type is imported lazily
    import asyncio

    from reconciler.engine.loop import AlreadyRunning, Reconciler

    async def run() -> None:
        await Reconciler(settings).run()

    try:
        asyncio.run(run())
    except AlreadyRunning as error:
        print(f"reconciler: {error}", file=sys.stderr)
        return 2
    return 0


def _validate(settings, files: list[Path]) -> int:  # type: ignore[no-untyped-def]  # lazy, as above
    from reconciler.domain.model import InvalidDomain, Policy
    from reconciler.domain.reader import read_domain

    bad = 0
    for file in files:
        try:
            domain = read_domain(file.read_bytes(), str(file), settings.images, settings.state,
                                 settings.arch, Policy())
        except InvalidDomain as error:
            bad += 1
            print(error)
        else:
            for warning in domain.warnings:
                print(warning)
            print(f"{file}: valid, domain {domain.name}")
    return 1 if bad else 0


def _status(settings, output: str) -> int:  # type: ignore[no-untyped-def]  # lazy, as above
    text = (settings.state / "status.json").read_text()
    value = json.loads(text)
    alive = os.path.exists(f"/proc/{value['reconciler']['pid']}")
    if output == "json":
        print(text)
    else:
        if not alive:
            print("STALE: the reconciler that wrote this does not run")
        if value["host"]["hypervisor"]["simulated"]:
            print("SIMULATED: no stratovirt on PATH")
        print(f"{'NAME':<20} {'WANTED':<9} {'STATE':<9} {'PID':<8} {'READY':<8} REASON")
        for d in value["domains"]:
            ready = d["conditions"][0]
            print(f"{d['name']:<20} {d['desired']['state']:<9} {d['observed']['state']:<9} "
                  f"{d['observed']['pid'] or '-':<8} {ready['status']:<8} {ready['reason']} "
                  f"{ready['message']}")
        for problem in value["source"]["invalid"].values():
            print(problem)
    if not alive:
        return 3
    return 0 if value["summary"]["ready"] == value["summary"]["domains"] else 1
