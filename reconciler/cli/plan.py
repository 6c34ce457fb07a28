"""`plan` and `diff`: print what the reconciler would do.

The plan of the source comes from the running reconciler. If none is running, and for another
directory or revision, the same function makes the plan in this process.
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
_STATUSES = {"default": (OK, NO, ERROR), "terraform": (0, 2, 1)}  # no changes, changes, error


def _common(parser: ArgumentParser) -> None:
    name = parser.add_argument("name", nargs="?", metavar="NAME", help="plan for this domain only")
    name.complete = DOMAINS  # type: ignore[attr-defined]  # shtab reads this attribute
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--dir", type=Path, metavar="PATH",
                       help="plan for the files of this directory instead")
    other.add_argument("--ref", metavar="REF",
                       help="plan for this branch, tag or commit instead")
    parser.add_argument("--disruptive-only", action="store_true",
                        help="exit with 1 only if a VM is recreated or destroyed, now or later")
    parser.add_argument("--exit-code", choices=tuple(_STATUSES), default="default",
                        help="terraform: 0 no changes, 2 changes, 1 error")


def _plan_arguments(parser: ArgumentParser) -> None:
    _common(parser)
    parser.add_argument("-o", "--output", default="text", choices=("text", "json", "markdown"),
                        help="output format (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="FILE",
                        help="save the plan for `apply --plan FILE`")


def _plan(options: Namespace, settings: Settings) -> int:
    def show(value: dict[str, Any]) -> str:
        if options.output == "json":
            return json.dumps(value, indent=1)
        if options.output == "markdown":
            from reconciler.cli.plan_markdown import markdown

            return markdown(value).rstrip()
        from reconciler.cli.plan_text import text

        return text(value)

    return _report(options, settings, show, options.out)


def _diff(options: Namespace, settings: Settings) -> int:
    from reconciler.cli.plan_text import diff

    return _report(options, settings, diff, None)


def _report(options: Namespace, settings: Settings, show: Any, out: Path | None) -> int:
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
            complain(f"{out} was not written: correct the errors first")
        return wrong
    if options.name and not value["plans"]:
        complain(f"no domain '{options.name}'", "`reconciler status` lists the domains")
        return wrong
    if options.disruptive_only:
        return changes if any(p["action"] in _DISRUPTIVE for p in value["plans"]) else nothing
    return changes if any(plan["changesAnything"] for plan in value["plans"]) else nothing


def _value(options: Namespace, settings: Settings, out: Path | None) -> dict[str, Any]:
    if out is not None and options.name:
        raise UsageError("--out saves the plan of all domains", hint="leave NAME out")
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
    """The plans of all domains or one, from the running reconciler or made in this process."""
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
    Verb("plan", "show what would change, and why", _plan, _plan_arguments,
         "  reconciler plan\n  reconciler plan web1 -o json\n"
         "  reconciler plan --ref origin/change\n"
         "  reconciler plan --dir checkout/domains -o markdown --disruptive-only\n"
         "  reconciler plan --ref change --out plan.json    # then, once reviewed:\n"
         "  reconciler apply --plan plan.json\n"
         "exit: 0 no changes, 1 changes, 2 an error or an invalid file\n"),
    Verb("diff", "show what would change, field by field", _diff, _common,
         "  reconciler diff web1\n  reconciler diff web1 --ref origin/change\n"
         "exit: 0 no changes, 1 changes, 2 an error or an invalid file\n"))
