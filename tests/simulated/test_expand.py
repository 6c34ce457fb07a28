"""Several domains of a file, the directory's defaults, the host's variables: real processes."""

import pytest

from tests.simulated.site import Site, ready, reason
from tests.values import xml

DEFAULTS = "<domain><memory unit='MiB'>{}</memory></domain>"


@pytest.fixture
def site(tmp_path):
    found = Site(tmp_path, more="source: {variables: {SIZE: 192}}")
    found.start()
    yield found
    found.close()


def data(site, name, memory="<memory unit='MiB'>128</memory>", more=""):
    site.disk(name)
    found = xml(name)
    for old, new in ((b"fw.fd", b"sample-firmware.fd"), (b"<disk type='file'>", (
            b"<disk type='file'><driver name='qemu' cache='writeback'/>")),
            (b"<memory unit='MiB'>128</memory>", memory.encode()),
            (b"state='running'", f"state='running' {more}".encode())):
        found = found.replace(old, new)
    return found


def count(site, number):
    for index in range(number):
        site.disk(f"web-{index}")
    site.put("web.xml", data(site, "web-{index}", more=f"count='{number}'"))


def running(site, *names):
    site.until(lambda v: sorted(d["name"] for d in v["domains"]) == sorted(names)
               and v["summary"]["running"] == v["summary"]["ready"] == len(names))
    return {name: site.processes(name) for name in names}


def test_a_count_is_so_many_vms_and_a_lower_one_takes_the_last(site):
    count(site, 3)
    before = running(site, "web-0", "web-1", "web-2")
    assert [len(pids) for pids in before.values()] == [1, 1, 1]
    count(site, 2)
    assert running(site, "web-0", "web-1").items() <= before.items()
    assert site.processes("web-2") == []
    # A reconciler that comes back finds all of them, and changes nothing (rule 2).
    site.kill()
    site.start()
    site.until(lambda v: v["summary"]["ready"] == 2)
    assert running(site, "web-0", "web-1").items() <= before.items()
    assert len(site.events("domain.starting")) == 3
    shown = site.verb("explain", "web-1")
    assert "  expanded  from web.xml: index 1" in shown.stdout
    assert "mac" not in shown.stderr
    for verb in ("suspend", "stop", "start", "destroy"):
        done = site.verb(verb, "web-1")
        assert done.returncode == 1
        assert "web.xml defines 2 domains (count), 'web-1' is one of them" in done.stderr
    site.file("web").unlink()
    site.until(lambda v: not v["domains"])


def test_other_defaults_recreate_exactly_those_that_have_something_of_them(site):
    site.put("defaults.xml", DEFAULTS.format(128).encode())
    site.put("a.xml", data(site, "a", memory=""))
    site.put("b.xml", data(site, "b"))
    before = running(site, "a", "b")
    site.put("defaults.xml", DEFAULTS.format("${SIZE}").encode())
    site.domain(lambda d: ready(d) and d["observed"]["memoryBytes"] == 192 << 20)
    assert site.processes("a") != before["a"]
    assert site.processes("b") == before["b"]
    assert "a.xml: defaults.xml, SIZE=192" in site.verb("explain", "a").stdout
    # The state of one of them is written into its own file.
    assert site.verb("suspend", "a").returncode == 0
    assert b"state='paused'" in site.file("a").read_bytes()
    assert b"192" not in site.file("a").read_bytes()
    # An error in the defaults stops no VM (rule 3).
    site.put("defaults.xml", b"<domain><vcpuu/></domain>")
    for name in "ab":
        site.domain(lambda d: reason(d) == "InvalidDefinition" and "defaults.xml" in str(
            d["conditions"]), name)
    assert "defaults.xml:1: error: domain/vcpuu" in site.verb("status").stdout
    site.file("defaults").unlink()
    site.domain(ready, "b")
    assert site.processes("b") == before["b"]


def test_rule_3_an_unknown_variable_keeps_what_runs(site):
    site.put("a.xml", data(site, "a", memory="<memory unit='MiB'>${SIZE}</memory>"))
    before = running(site, "a")
    site.put("a.xml", data(site, "a", memory="<memory unit='MiB'>${SIZ}</memory>"))
    found = site.domain(lambda d: reason(d) == "InvalidDefinition")
    assert "no variable 'SIZ'; did you mean 'SIZE'?" in str(found["conditions"])
    assert site.processes("a") == before["a"]
    site.put("a.xml", data(site, "a", memory="<memory unit='MiB'>192</memory>"))
    site.settled("running")
    assert site.processes("a") == before["a"]  # which means the same (rule 4)
