"""`plan` and `diff`: the very value that the engine executes, printed; for the source or another.

For the source the reconciler that runs is asked, if one does; without one, for another directory or
for a branch, the same function decides here on the same facts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.cli.terminal import complain
from reconciler.cli.verb import DOMAINS, ERROR, NO, OK, Verb
from reconciler.errors import ReconcilerError, UsageError
from reconciler.report.requests import Request

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from reconciler.engine.dryrun.target import Target
    from reconciler.settings import Settings

_DISRUPTIVE = ("recreate", "destroy")
_STATUSES = {"default": (OK, NO, ERROR), "terraform": (0, 2, 1)}  # nothing, changes, an error


def _common(parser: ArgumentParser) -> None:
    name = parser.add_argument("name", nargs="?", metavar="NAME", help="only this domain")
    name.complete = DOMAINS  # type: ignore[attr-defined]  # shtab reads it off the action
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--dir", type=Path, metavar="PATH",
                       help="as if this directory were the source")
    other.add_argument("--ref", metavar="REF",
                       help="as if this branch, tag or commit of the source's repository were it")
    parser.add_argument("--disruptive-only", action="store_true",
                        help="exit 1 only where a VM is recreated or destroyed, now or later")
    parser.add_argument("--exit-code", choices=tuple(_STATUSES), default="default",
                        help="terraform: 0 nothing, 2 changes, 1 an error")


def _plan_arguments(parser: ArgumentParser) -> None:
    _common(parser)
    parser.add_argument("-o", "--output", default="text", choices=("text", "json", "markdown"))
    parser.add_argument("--out", type=Path, metavar="FILE",
                        help="keep it in a file, for `apply --plan FILE`")


def _plan(options: Namespace, settings: Settings) -> int:
    def show(value: dict[str, Any]) -> str:
        if options.output == "json":
            return json.dumps(value, indent=1)
        if options.output == "markdown":
            from reconciler.cli.plan_markdown import markdown

            return markdown(value).rstrip()
        from reconciler.cli.plan_text import text

        return text(value)

    return _told(options, settings, show, options.out)


def _diff(options: Namespace, settings: Settings) -> int:
    from reconciler.cli.plan_text import diff

    return _told(options, settings, diff, None)


def _told(options: Namespace, settings: Settings, show: Any, out: Path | None) -> int:
    nothing, changes, wrong = _STATUSES[options.exit_code]
    try:
        value = _value(options, settings, out)
    except ReconcilerError as error:  # exit status 1 would mean changes
        complain(str(error), error.hint)
        return wrong
    shown = show(value)
    if shown:
        print(shown)
    if value["sourceError"] or value["invalid"]:
        if out is not None:
            complain(f"{out} was not written: what is invalid is corrected first")
        return wrong
    if options.name and not value["plans"]:
        complain(f"no domain '{options.name}'", "`reconciler status` lists those that there are")
        return wrong
    if options.disruptive_only:
        return changes if any(p["action"] in _DISRUPTIVE for p in value["plans"]) else nothing
    return changes if any(plan["changesAnything"] for plan in value["plans"]) else nothing


def _value(options: Namespace, settings: Settings, out: Path | None) -> dict[str, Any]:
    if out is not None and options.name:
        raise UsageError("a plan in a file is of all domains", hint="leave NAME out")
    target = _target(options)
    if out is None and target is None:
        return plans(settings, options.name)
    import asyncio

    from reconciler.engine.dryrun.entry import draw
    from reconciler.engine.dryrun.saved_plan import plan_file
    from reconciler.engine.dryrun.target import Target

    target = target or Target()
    drawn = asyncio.run(draw(settings, target))
    value = drawn.review.value(options.name)
    if out is not None and not value["sourceError"] and not value["invalid"]:
        _keep(out, plan_file(settings, target, drawn))
    return {**value, "target": {"kind": str(target.kind), "name": target.name,
                                "commit": drawn.listing.commit if drawn.listing else ""}}


def _target(options: Namespace) -> Target | None:
    if options.dir is None and options.ref is None:
        return None
    from reconciler.engine.dryrun.target import Kind, Target

    if options.ref is not None:
        return Target(Kind.REF, options.ref)
    return Target(Kind.DIRECTORY, str(options.dir.absolute()))


def _keep(out: Path, value: dict[str, Any]) -> None:
    from reconciler.cli.files import put

    try:
        put(out, json.dumps(value, indent=1).encode() + b"\n")
    except OSError as error:
        raise UsageError(f"{out}: {error.strerror}") from error


def plans(settings: Settings, name: str | None) -> dict[str, Any]:
    """Every plan, from the reconciler that runs, else made here by the same function."""
    from reconciler.cli.client import Unreachable, ask

    query = {"name": name} if name else {}
    try:
        value: dict[str, Any] = ask(settings, Request.PLAN, query=query)
    except Unreachable:
        import asyncio

        from reconciler.engine.dryrun.entry import plans as offline

        return asyncio.run(offline(settings, name))
    return value


VERBS = (
    Verb("plan", "what would be done, why, and what it costs the guests", _plan, _plan_arguments,
         "  reconciler plan\n  reconciler plan web1 -o json\n"
         "  reconciler plan --ref origin/change          # of the repository of the files\n"
         "  reconciler plan --dir checkout/domains -o markdown --disruptive-only\n"
         "  reconciler plan --ref change --out plan.json && reconciler apply --plan plan.json\n"
         "exit: 0 nothing to do, 1 changes, 2 an error or an invalid file\n"),
    Verb("diff", "the same, as a diff of fields", _diff, _common,
         "  reconciler diff web1\n  reconciler diff web1 --ref origin/change\n"
         "exit: as of `plan`\n"))
