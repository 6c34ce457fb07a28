import pytest

from tests.simulated.site import Site


@pytest.fixture
def idle(tmp_path):
    """A directory on which no reconciler runs."""
    found = Site(tmp_path)
    yield found
    found.close()


@pytest.fixture
def site(idle):
    """One on which a reconciler runs."""
    idle.start()
    idle.until(lambda value: True)
    return idle


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One for all tests of a file that only look: a runs, p is paused, s is stopped."""
    found = Site(tmp_path_factory.mktemp("site"))
    try:
        found.start()
        console = "<console type='pty'><target type='virtio'/></console><serial type='pty'/>"
        found.drop("a", devices=console)
        found.drop("p", "paused")
        found.drop("s", "stopped")
        for name, state in (("a", "running"), ("p", "paused"), ("s", "absent")):
            found.settled(state, name)
        yield found
    finally:
        found.close()
