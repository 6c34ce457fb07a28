"""Coroutine tests: each in a loop of its own, on real time or on simulated time."""

import asyncio
import inspect
import os
import signal

import pytest

from tests.clock import SimulatedLoop
from tests.numbers import EachNumberPassed, carried


def pytest_configure(config):
    """Make SIGINT work in the processes under test: a shell ignores it in its background jobs.

    The tests interrupt some of them as Ctrl-C does.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):  # xdist's workers see a part of the results only
        config.pluginmanager.register(EachNumberPassed(config))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark each test with its rules and pains, and begin with those that take longest.

    At the end, a long one would keep one processor busy alone.
    """
    for item in items:
        for kind, number in carried(item.originalname or item.name):
            item.add_marker(getattr(pytest.mark, kind)(number=number))
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Under CI nothing is skipped in silence: what a machine has not is a failure there.

    On a real StratoVirt the simulator's own tests have nothing to do.
    """
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and "STRATOVIRT_REAL" not in os.environ:
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr}"
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    simulated = pyfuncitem.get_closest_marker("simulated_time") is not None
    wanted = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in wanted}
    with asyncio.Runner(loop_factory=SimulatedLoop if simulated else None) as runner:
        runner.run(pyfuncitem.obj(**arguments))
    return True
