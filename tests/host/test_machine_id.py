"""The id of a host: its machine-id, or one of our own that stays."""

from __future__ import annotations

import pytest

from reconciler.host.machine_id import ensure, identity

ID = "3d1219c7c4c5404aaa1f6d2a48adfda4"


def test_the_id_of_the_host_is_used_and_not_shown(tmp_path):
    host, own = tmp_path / "machine-id", tmp_path / "own"
    host.write_text(f"{ID}\n")
    found = identity(host, own)
    assert found
    assert ID not in found.replace("-", "")
    ensure(host, own)
    assert not own.exists()
    assert identity(host, own) == found
    host.write_text(f"{ID[::-1]}\n")
    assert identity(host, own) != found


@pytest.mark.parametrize("text", [None, b"", b"uninitialized\n", b"\xff"])
def test_a_host_without_one_gets_one_of_our_own(tmp_path, text):
    host, own = tmp_path / "machine-id", tmp_path / "own"
    if text is not None:
        host.write_bytes(text)
    assert identity(host, own) == ""
    ensure(host, own)
    found = identity(host, own)
    ensure(host, own)
    assert found == identity(host, own) != ""
