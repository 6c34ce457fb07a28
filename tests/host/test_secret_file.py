"""Files with a secret."""

from __future__ import annotations

import pytest

from reconciler.host.secret_file import LONGEST, Exposed, read_bounded, read_secret


@pytest.fixture
def file(tmp_path):
    found = tmp_path / "secret"
    found.write_bytes(b"\n s3cret\t\n")
    found.chmod(0o600)
    return found


def test_a_secret_has_no_white_space_around_it(file):
    assert read_secret(file) == b"s3cret"
    assert read_bounded(file, 100) == b"\n s3cret\t\n"


def test_no_more_is_read_than_a_secret_can_have(file):
    file.write_bytes(b"x" * (LONGEST + 1))
    assert len(read_secret(file)) == LONGEST
    assert read_bounded(file, 3) == b"xxx"


@pytest.mark.parametrize(("mode", "exposed"), [
    (0o600, False), (0o640, False), (0o660, False), (0o604, True), (0o602, True), (0o601, True)])
def test_a_private_secret_is_closed_to_other_users(file, mode, exposed):
    file.chmod(mode)
    assert read_secret(file) == b"s3cret"
    if not exposed:
        assert read_secret(file, private=True) == b"s3cret"
        return
    with pytest.raises(Exposed, match="every user of this host") as caught:
        read_secret(file, private=True)
    assert caught.value.filename == str(file)


def test_what_cannot_be_read_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_secret(tmp_path / "none")
