"""Coroutine tests: each in a loop of its own, on real time or on simulated time."""

import asyncio
import inspect

import pytest

from tests.clock import SimulatedLoop


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
