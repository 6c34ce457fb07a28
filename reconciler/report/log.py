"""The log: each event as a line of JSON, or as text on a terminal.

A structlog logger with a chain of processors for each of the two forms. It is imported by `run`
alone; no other verb pays for structlog.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from reconciler.units import show_revision
from reconciler.visible import visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import EventDict, Processor, WrappedLogger

    from reconciler.report.log_writer import LogWriter

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_FIRST = ("time", "severity", "event", "domain")
_NOT_FOR_PEOPLE = ("seq", "uuid")


def event_log(form: str, level: str, stream: LogWriter) -> Callable[[dict[str, Any]], None]:
    """A function that writes an event to the log, and never fails; `form`: auto, json or text."""
    as_text = form == "text" or (form == "auto" and stream.isatty())
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        structlog.WriteLogger(stream),  # type: ignore[arg-type]  # it needs write and flush alone
        processors=_text(colours=stream.isatty()) if as_text else _json(),
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level])).bind()

    def log(event: dict[str, Any]) -> None:
        lost = stream.lost()
        if lost:
            logger.warning("log.lost", time=event["time"], count=lost)
        values = dict(event)
        logger.log(_LEVELS[values.pop("severity")], values.pop("event"), **values)

    return log


def _json() -> list[Processor]:
    return [_add_severity, _order, structlog.processors.JSONRenderer()]


def _text(*, colours: bool) -> list[Processor]:
    return [structlog.processors.add_log_level, _shorten,
            structlog.dev.ConsoleRenderer(colors=colours, sort_keys=False)]


def _add_severity(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    event["severity"] = method
    return event


def _order(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The keys that every line has come first, for people who read the JSON."""
    return {**{key: event[key] for key in _FIRST if key in event}, **event}


def _shorten(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """For a terminal: the renderer's name for the time, short revisions, no keys for programs."""
    event["timestamp"] = event.pop("time")
    if "revision" in event:
        event["revision"] = show_revision(str(event["revision"]))
    for key in _NOT_FOR_PEOPLE:
        event.pop(key, None)
    return {key: _shown(value) for key, value in event.items()}


def _shown(value: Any) -> Any:
    """Texts may be of a guest, a file or another process."""
    return visible(value) if isinstance(value, str) else (
        [_shown(one) for one in value] if isinstance(value, list | tuple) else value)
