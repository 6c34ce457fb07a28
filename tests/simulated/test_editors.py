"""What editors and tools do to a directory of files: one start each, no false stop."""

import os
import shutil
import subprocess

import pytest

from tests.simulated.site import Site, condition, ready, reason


def text(site, name="a", **values):
    """A file's contents, without dropping it."""
    site.drop(name, file=".hidden", **values)
    data = (site.path / "domains" / ".hidden").read_bytes()
    (site.path / "domains" / ".hidden").unlink()
    return data


def never(site, *events):
    assert site.events(*events) == []


def test_pain_3_a_slow_writer_is_waited_for(site):
    data = text(site)
    half = len(data) // 2
    with open(site.file(), "wb", buffering=0) as file:
        file.write(data[:half])
        site.drop("other")
        site.settled("running", "other")
        site.rest(0.7)  # longer than `settle`, but the writer is not finished
        site.drop("third")
        site.settled("running", "third")
        file.write(data[half:])
    site.settled("running")
    never(site, "domain.invalid")


def test_pain_3_a_slow_rewrite_of_a_file_stops_nothing(site):
    site.drop()
    pid = site.settled("running")["observed"]["pid"]
    data = text(site, memory=256)
    with open(site.file(), "wb", buffering=0) as file:
        site.drop("other")
        site.settled("running", "other")
        file.write(data[:100])
        site.rest(0.7)
        site.file("other").unlink()
        site.rest(0.7)
        assert site.processes() == [pid]
        file.write(data[100:])
    site.domain(lambda d: ready(d) and d["observed"]["memoryBytes"] == 256 << 20)
    never(site, "domain.invalid")
    site.gone("other")


def test_pain_3_vim(site):
    site.drop()
    pid = site.settled("running")["observed"]["pid"]
    data = text(site, state="paused")
    folder = site.path / "domains"
    for probe in ("4913", "5036"):
        (folder / probe).write_bytes(b"")
        (folder / probe).unlink()
    (folder / ".a.xml.swp").write_bytes(b"b0VIM 9.0")
    site.file().rename(folder / "a.xml~")
    site.file().write_bytes(data)
    (folder / "a.xml~").unlink()
    assert site.settled("paused")["observed"]["pid"] == pid
    never(site, "domain.invalid", "domain.stopping")


@pytest.mark.parametrize("dropping", ["4913", ".a.xml.swp", "a.xml~", "#a.xml#", ".#a.xml",
                                      ".a.xml.Xy12ab", "a.xml.tmp", "a.xml.bak", "~a.xml"])
def test_pain_3_temporary_files_of_editors_are_ignored(site, dropping):
    site.drop()
    pid = site.settled("running")["observed"]["pid"]
    place = site.path / "domains" / dropping
    if dropping == ".#a.xml":
        place.symlink_to("me@host.1234:1")
    else:
        place.write_bytes(text(site, "b"))
    site.drop("c")
    site.settled("running", "c")
    assert site.processes() == [pid]
    assert site.processes("b") == []
    never(site, "domain.invalid", "source.failed")


@pytest.mark.parametrize("tool", ["rsync", "cp", "install", "sed", "link", "mv", "tee"])
def test_tools(site, tool):
    site.drop()
    pid = site.settled("running")["observed"]["pid"]
    fresh = site.path / "elsewhere.xml"
    fresh.write_bytes(text(site, state="paused"))
    match tool:
        case "rsync":
            half = site.path / "domains" / ".a.xml.k3Jd8s"
            with open(half, "wb", buffering=0) as file:
                file.write(fresh.read_bytes()[:50])
                file.write(fresh.read_bytes()[50:])
            shutil.copystat(fresh, half)
            half.rename(site.file())
        case "link":
            site.file().unlink()
            os.link(fresh, site.file())
        case "sed":
            subprocess.run(["sed", "-i", "s/state='running'/state='paused'/", site.file()],
                           check=True)
        case "tee":
            subprocess.run(["tee", site.file()], input=fresh.read_bytes(), check=True,
                           stdout=subprocess.DEVNULL)
        case _:
            subprocess.run([tool, fresh, site.file()], check=True)
    assert site.settled("paused")["observed"]["pid"] == pid
    never(site, "domain.invalid", "domain.stopping")


def test_two_writes_within_a_tick_of_the_clock(site):
    """Same size, same inode, same mtime: only a second reading shows the second one."""
    running = text(site, state="running")
    stopped = text(site, state="stopped")
    assert len(running) == len(stopped)
    site.file().write_bytes(stopped)
    site.settled("absent")
    for _ in range(10):
        with open(site.file(), "r+b", buffering=0) as file:
            file.write(running)
        with open(site.file(), "r+b", buffering=0) as file:
            file.write(stopped)
        with open(site.file(), "r+b", buffering=0) as file:
            file.write(running)
        site.settled("running")
        with open(site.file(), "r+b", buffering=0) as file:
            file.write(running)
        with open(site.file(), "r+b", buffering=0) as file:
            file.write(stopped)
        site.settled("absent")


def test_a_directory_replaced_by_rename(site):
    site.drop()
    pid = site.settled("running")["observed"]["pid"]
    for turn in range(5):
        new = site.path / f"next{turn}"
        new.mkdir()
        state = ("paused", "running")[turn % 2]
        (new / "a.xml").write_bytes(text(site, state=state))
        (site.path / "domains").rename(site.path / f"old{turn}")
        new.rename(site.path / "domains")
        assert site.settled(state)["observed"]["pid"] == pid
    # And the new one is watched.
    site.drop("b")
    site.settled("running", "b")
    never(site, "domain.stopping")


def test_a_directory_that_was_removed_and_recreated_is_watched(site):
    site.drop()
    pid = site.settled("running")["observed"]["pid"]
    data = site.file().read_bytes()
    for turn in range(4):
        shutil.rmtree(site.path / "domains")
        (site.path / "domains").mkdir()
        site.file().write_bytes(data)
        site.drop(f"b{turn}")
        site.settled("running", f"b{turn}")
        site.drop(f"c{turn}")
        site.settled("running", f"c{turn}")
    assert site.processes() == [pid]


def test_a_symlink_swapped(tmp_path):
    site = Site(tmp_path)
    try:
        folder = site.path / "domains"
        folder.rename(site.path / "v1")
        folder.symlink_to("v1")
        site.start()
        site.drop()
        pid = site.settled("running")["observed"]["pid"]
        for turn in range(2, 6):
            new = site.path / f"v{turn}"
            new.mkdir()
            state = ("running", "paused")[turn % 2]
            (new / "a.xml").write_bytes(text(site, state="paused").replace(
                b"state='paused'", f"state='{state}'".encode()))
            (site.path / "link").symlink_to(f"v{turn}")
            (site.path / "link").rename(folder)
            assert site.settled(state)["observed"]["pid"] == pid
        site.drop("b")
        site.settled("running", "b")
        never(site, "domain.stopping")
    finally:
        site.close()


def test_a_config_map_of_kubernetes(site):
    """Files are links into ..data, which is swapped."""
    folder = site.path / "domains"

    def version(number, state):
        (folder / f"..{number}").mkdir()
        (folder / f"..{number}" / "a.xml").write_bytes(text(site, state=state))
        (folder / "..data_tmp").symlink_to(f"..{number}")
        (folder / "..data_tmp").rename(folder / "..data")

    version(1, "running")
    (folder / "a.xml").symlink_to("..data/a.xml")
    pid = site.settled("running")["observed"]["pid"]
    version(2, "paused")
    assert site.settled("paused")["observed"]["pid"] == pid


def test_pain_2_a_moved_file_is_the_same_domain(site):
    site.drop()
    pid = site.settled("running")["observed"]["pid"]
    site.file().rename(site.file("z"))
    site.domain(lambda d: d["file"] == "z.xml")
    shutil.copy(site.file("z"), site.file("b"))
    site.domain(lambda d: reason(d) == "Conflict" or ready(d))
    site.file("z").unlink()
    site.domain(lambda d: d["file"] == "b.xml" and ready(d))
    assert site.processes() == [pid]
    never(site, "domain.stopping")


def test_pain_3_two_files_of_one_name(site):
    site.drop()
    pid = site.settled("running")["observed"]["pid"]
    site.drop("a", file="0.xml", memory=256)
    value = site.until(lambda v: any(r["reason"] == "Conflict" for r in v["source"]["invalid"]))
    assert value["domains"][0]["observed"]["pid"] == pid
    site.file("0").unlink()
    site.until(lambda v: not v["source"]["invalid"])
    site.settled("running")
    assert site.processes() == [pid]


def test_pain_3_neither_of_two_new_files_of_one_name_wins(tmp_path):
    site = Site(tmp_path)
    try:
        site.drop("a", file="0.xml")
        site.drop("a", file="1.xml", memory=256)
        site.start()
        site.until(lambda v: len(v["source"]["invalid"]) == 2)
        assert site.processes() == []
        site.file("0").unlink()
        assert site.settled("running")["observed"]["memoryBytes"] == 256 << 20
    finally:
        site.close()


@pytest.mark.parametrize("policy", ["keep", "confirm", "after"])
def test_prune_policies(site, policy):
    inner = "<r:prune after='1s'/>" if policy == "after" else f"<r:prune policy='{policy}'/>"
    site.drop(inner=inner)
    pid = site.settled("running")["observed"]["pid"]
    data = site.file().read_bytes()
    site.file().unlink()
    if policy == "keep":
        found = site.domain(lambda d: condition(d, "Orphaned"))
        assert site.processes() == [pid]
    elif policy == "confirm":
        found = site.domain(lambda d: condition(d, "PruneHeld"))
        assert condition(found, "PruneHeld")["reason"] == "ConfirmRequired"
        assert site.processes() == [pid]
    else:
        site.domain(lambda d: condition(d, "Terminating") and d["observed"]["state"] == "absent")
        site.put("a.xml", data)
        pid = site.settled("running")["observed"]["pid"]
        site.file().unlink()
        site.gone()
        assert site.processes() == []
        return
    site.put("a.xml", data)
    assert site.settled("running")["observed"]["pid"] == pid
    if policy == "confirm":
        site.file().unlink()
        site.domain(lambda d: condition(d, "PruneHeld"))
        assert site.approve() == 0
        site.gone()
        assert site.processes() == []


def test_a_hold_ends_by_itself_and_says_so(site):
    site.drop()
    site.settled("running")
    assert site.verb("hold", "a", "--reason", "repair", "--for", "2s").returncode == 0
    site.domain(lambda d: condition(d, "Held"))
    site.drop(state="paused")
    held = site.domain(lambda d: reason(d) == "HoldRequested")
    assert held["observed"]["state"] == "running"
    found = site.settled("paused")
    assert not condition(found, "Held")
    assert len(site.events("domain.released")) == 1


def test_what_is_held_is_not_removed_either(site):
    site.drop()
    pid = site.settled("running")["observed"]["pid"]
    assert site.verb("hold", "a", "--reason", "repair").returncode == 0
    site.domain(lambda d: condition(d, "Held"))
    site.file().unlink()
    site.drop("b")
    site.settled("running", "b")
    site.rest(0.8)
    assert site.processes() == [pid]
    assert site.verb("release", "a").returncode == 0
    site.gone()
