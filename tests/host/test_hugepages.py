"""Where huge pages are mounted."""

import pytest

from reconciler.errors import HostError
from reconciler.host import hugepages

MIB = 1 << 20
MOUNTS = """proc /proc proc rw 0 0
none /dev/hugepages hugetlbfs rw,relatime,pagesize=2M 0 0
none /again hugetlbfs rw,relatime,pagesize=2M 0 0
none /mnt/one\\040gib hugetlbfs rw,relatime,pagesize=1024M 0 0
none /old hugetlbfs rw,pagesize=64K 0 0
"""


@pytest.fixture
def files(tmp_path):
    (tmp_path / "mounts").write_text(MOUNTS)
    (tmp_path / "meminfo").write_text("MemTotal: 1 kB\nHugepagesize:       2048 kB\n")
    return tmp_path / "mounts", tmp_path / "meminfo"


@pytest.mark.parametrize(("size", "place"), [
    (0, "/dev/hugepages"), (2 * MIB, "/dev/hugepages"), (1024 * MIB, "/mnt/one gib"),
    (1 << 16, "/old")])
def test_the_first_mount_of_a_size(files, size, place):
    assert hugepages.mount_of(size, *files) == place


def test_a_size_that_is_not_mounted_says_what_to_do(files):
    with pytest.raises(HostError, match="32 MiB.*mounted: 64 KiB, 2 MiB, 1 GiB") as caught:
        hugepages.mount_of(32 * MIB, *files)
    assert "pagesize=32768K" in caught.value.hint


def test_the_pages_of_a_path_are_those_of_the_mount_it_is_in(tmp_path, files):
    mounts, memory = files
    mounts.write_text("none /h hugetlbfs rw,pagesize=2M 0 0\n"
                      "none /h/big hugetlbfs rw,pagesize=1024M 0 0\n")
    found = [hugepages.page_of(path, mounts, memory)
             for path in ("/h", "/h/libvirt/a", "/h/big/b", "/hh", "/tmp")]
    assert found == [2 << 20, 2 << 20, 1 << 30, None, None]


def test_a_kernel_without_any(tmp_path, files):
    (tmp_path / "meminfo").write_text("MemTotal: 1 kB\n")
    (tmp_path / "mounts").write_text("")
    with pytest.raises(HostError, match="none"):
        hugepages.mount_of(0, *files)


@pytest.mark.parametrize(("free", "there", "enough"), [
    (True, "64", True), (True, "63", False), (False, "64", True), (False, "0", False)])
def test_too_few_pages_are_reported_before_the_start(tmp_path, free, there, enough):
    place = tmp_path / "hugepages-2048kB"
    place.mkdir()
    (place / ("free_hugepages" if free else "nr_hugepages")).write_text(there + "\n")
    if enough:
        hugepages.check_room(2 * MIB, 128 * MIB, free=free, pages=tmp_path)
        return
    with pytest.raises(HostError, match=f"64 huge pages of 2 MiB are required, {there} "):
        hugepages.check_room(2 * MIB, 128 * MIB, free=free, pages=tmp_path)
