"""`history` and `rollback` on a real reconciler."""

import json

from tests.simulated.site import ready


def entries(site):
    return json.loads(site.verb("history", "a", "-o", "json").stdout)


def test_the_way_back_to_an_earlier_definition(site):
    for memory in (128, 256, 192):
        site.drop(memory=memory)
        site.domain(lambda d, m=memory: ready(d) and d["observed"]["memoryBytes"] == m << 20)
    first = site.verb("history", "a", "--show", "1").stdout
    assert "128" in first
    assert [(e["number"], e["result"]) for e in entries(site)] == [
        (1, "InSync"), (2, "InSync"), (3, "InSync")]
    assert "LAST APPLIED" in site.verb("history", "a").stdout
    found = site.verb("rollback", "a")
    assert found.returncode == 0, found.stderr
    assert "definition 2 of " in found.stdout
    assert site.settled("running")["observed"]["memoryBytes"] == 256 << 20
    assert site.verb("rollback", "a", "--to", "1").returncode == 0
    assert site.settled("running")["observed"]["memoryBytes"] == 128 << 20
    assert site.file().read_text() == first
    assert [e["number"] for e in entries(site)] == [1, 2, 3, 4, 5]
    again = site.verb("rollback", "a", "--to", "1")
    assert again.returncode == 1
    assert "is at definition 1 already" in again.stderr
    assert "(available: 1, 2, 3, 4, 5)" in site.verb("rollback", "a", "--to", "9").stderr


def test_rollback_keeps_the_state_and_skips_mere_changes_of_it(site):
    for memory in (128, 256):
        site.drop(memory=memory)
        site.domain(lambda d, m=memory: ready(d) and d["observed"]["memoryBytes"] == m << 20)
    assert site.verb("stop", "a").returncode == 0
    site.settled("absent")
    assert site.verb("start", "a").returncode == 0
    site.settled("running")
    found = site.verb("rollback", "a")
    assert found.returncode == 0, found.stderr
    assert "definition 1 of " in found.stdout
    assert "memory: 256 MiB → 128 MiB" in found.stdout
    assert site.settled("running")["observed"]["memoryBytes"] == 128 << 20
    assert site.verb("stop", "a").returncode == 0
    site.settled("absent")
    assert site.verb("rollback", "a", "--to", "2").returncode == 0
    found = site.settled("absent")
    assert (found["desired"]["state"], found["desired"]["memoryBytes"]) == ("stopped", 256 << 20)


def test_a_definition_that_was_rolled_back_is_not_what_one_goes_back_to(site):
    site.drop()
    site.settled("running")
    assert "no earlier definition" in site.verb("rollback", "a").stderr
    assert "no domain 'b'" in site.verb("history", "b").stderr


def test_the_definition_of_a_removed_domain_is_kept(site):
    site.drop()
    site.settled("running")
    text = site.file().read_bytes()
    site.file().unlink()
    site.gone()
    kept, = (site.path / "state" / "removed").iterdir()
    assert kept.read_bytes() == text


def test_one_of_several_domains_of_a_file_is_not_written_over_all_of_them(site):
    for number in (0, 1):
        site.disk(f"a{number}")
    for memory in (128, 256):
        site.drop("a{index}", "running' count='2", "a.xml", memory=memory)
        site.domain(lambda d, m=memory: ready(d) and d["observed"]["memoryBytes"] == m << 20, "a0")
    found = site.verb("rollback", "a0")
    assert found.returncode == 1
    assert "defines 2 domains" in found.stderr
    assert "`reconciler history a0 --show 1`" in found.stderr
    assert "a{index}" in site.file().read_text()
