"""A machine of each program that is to be tested."""

import pytest

from tests.simulator.support import SIMULATOR, Machine, programs


@pytest.fixture
def make(tmp_path):
    """Simulated machines, ended at the end."""
    made = []

    def build(faults=None, name="web1", program=SIMULATOR):
        made.append(Machine(program, tmp_path, faults, name))
        return made[-1]

    yield build
    for machine in made:
        machine.end()


@pytest.fixture(params=programs().values(), ids=programs().keys())
def both(request, make):
    """A maker of machines of the simulator, and of the real program where there is one."""

    def build(name="web1"):
        return make(name=name, program=request.param)

    return build
