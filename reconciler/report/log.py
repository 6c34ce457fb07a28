"""The log: structlog renders each event, as JSON lines, or readable on a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import structlog

from reconciler.units import show_revision

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping
    from pathlib import Path

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def _in_order(_logger: object, _method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    """What every line has comes first, for whoever reads JSON with the naked eye."""
    first = {key: event[key] for key in ("time", "severity", "event", "domain") if key in event}
    return {**first, **event}


def shower(form: str, level: str, file: Path | None) -> Callable[[dict[str, Any]], None]:
    """A function that logs an event; `form` is auto, json or text."""
    stream = sys.stderr if file is None else file.open("a", encoding="utf-8")
    readable = form == "text" or (form == "auto" and stream.isatty())
    renderer: Any = (structlog.dev.ConsoleRenderer(colors=stream.isatty(), sort_keys=False)
                     if readable else structlog.processors.JSONRenderer())
    logger = structlog.wrap_logger(structlog.PrintLogger(stream), processors=[
        *([] if readable else [_in_order]), renderer], wrapper_class=structlog.BoundLogger)
    least = _LEVELS[level]

    def show(event: dict[str, Any]) -> None:
        if _LEVELS[event["severity"]] < least:
            return
        values = dict(event)
        name, severity = values.pop("event"), values.pop("severity")
        if readable:
            values["timestamp"] = values.pop("time")
            values["level"] = severity
            if "revision" in values:
                values["revision"] = show_revision(str(values["revision"]))
            for machine_only in ("seq", "uuid"):
                values.pop(machine_only, None)
            logger.msg(name, **values)
        else:
            logger.msg(name, **{"time": values.pop("time"), "severity": severity, **values})

    return show
