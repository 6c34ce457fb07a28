"""A site on which a test keeps domains."""

import pytest

from tests.engine.control.machines import Site


@pytest.fixture
def site(tmp_path):
    found = Site(tmp_path)
    yield found
    found.close()
