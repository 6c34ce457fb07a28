import pytest

from tests.simulated.site import Site


@pytest.fixture
def site(tmp_path):
    found = Site(tmp_path)
    found.start()
    yield found
    found.close()
