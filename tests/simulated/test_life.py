"""The whole path on real processes: rules 1, 2, 3 and 6."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
XML = """<domain type='kvm'><name>a</name><memory unit='MiB'>{memory}</memory>
<os><type>hvm</type></os><devices><disk type='file'><source file='a.img'/>
<target dev='vda' bus='virtio'/></disk></devices><metadata>
<r:reconcile xmlns:r='urn:stratovirt-reconciler:1' state='{state}'/></metadata></domain>"""


class Site:
    """A directory with a reconciler of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "domains").mkdir()
        (path / "images").mkdir()
        (path / "images" / "a.img").write_bytes(bytes(4096))
        (path / "config.yaml").write_text(
            "paths: {runtime: run, state: state}\nprune: {settle: 100ms}\n"
            f"hypervisor: {{path: {sys.executable}, arguments: [-I, -S, "
            f"{ROOT / 'reconciler/simulator/__main__.py'}]}}\n")
        self.pids: set[int] = set()
        self.start()

    def start(self) -> None:
        """Run a reconciler."""
        with (self.path / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "reconciler", "-c", str(self.path / "config.yaml"), "run"],
                stderr=log, cwd=ROOT)

    def drop(self, state: str = "running", memory: int = 128) -> None:
        """Put the file into place."""
        fresh = self.path / "fresh"
        fresh.write_text(XML.format(state=state, memory=memory))
        fresh.replace(self.path / "domains" / "a.xml")

    def until(self, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until the status of the domain (empty: none) is so."""
        deadline = time.monotonic() + 60
        last: dict[str, Any] = {}
        while time.monotonic() < deadline:
            file = self.path / "state" / "status.json"
            if file.exists():
                value = json.loads(file.read_text())
                last = value["domains"][0] if value["domains"] else {}
                if pid := last.get("observed", {}).get("pid"):
                    self.pids.add(pid)
                if value["reconciler"]["pid"] == self.process.pid and true(last):
                    return last
            os.sched_yield()
        raise AssertionError(f"{last}\n{(self.path / 'log').read_text()[-4000:]}")

    def state(self, name: str) -> dict[str, Any]:
        """Wait until the VM is observed so and that is right."""
        return self.until(lambda d: bool(d) and d["observed"]["state"] == name
                          and d["conditions"][0]["status"] == "True")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site that takes its processes with it."""
    found = Site(tmp_path)
    yield found
    found.process.kill()
    found.process.wait()
    for pid in found.pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def test_the_life_of_a_domain(site: Site) -> None:
    site.drop()
    pid = site.state("running")["observed"]["pid"]
    site.drop("paused")
    site.state("paused")
    site.drop()
    assert site.state("running")["observed"]["pid"] == pid
    site.drop("stopped")
    site.state("absent")
    site.drop()
    site.state("running")
    site.drop(memory=256)
    site.until(lambda d: d["generation"] >= 6 and d["observed"]["state"] == "running")
    (site.path / "domains" / "a.xml").unlink()
    site.until(lambda d: not d)


def test_rule_2_a_killed_reconciler_finds_its_vm_again(site: Site) -> None:
    site.drop()
    pid = site.state("running")["observed"]["pid"]
    for _ in range(5):
        site.process.kill()
        site.process.wait()
        site.start()
        assert site.state("running")["observed"]["pid"] == pid


def test_rule_3_a_broken_file_and_a_vanished_source_stop_nothing(site: Site) -> None:
    site.drop()
    pid = site.state("running")["observed"]["pid"]
    (site.path / "domains" / "a.xml").write_text("<domain>")
    site.until(lambda d: any(c["type"] == "Valid" for c in d["conditions"]))
    (site.path / "domains").rename(site.path / "elsewhere")
    site.until(lambda d: d["observed"]["pid"] == pid)
    os.kill(pid, 0)


def test_a_killed_vm_is_started_again(site: Site) -> None:
    site.drop()
    pid = site.state("running")["observed"]["pid"]
    os.kill(pid, signal.SIGKILL)
    site.until(lambda d: d["observed"]["pid"] not in (pid, None))


def test_a_second_reconciler_is_refused(site: Site) -> None:
    site.drop()
    site.state("running")
    second = subprocess.run(
        [sys.executable, "-m", "reconciler", "-c", str(site.path / "config.yaml"), "run"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 2
    assert "another reconciler runs" in second.stderr


def test_the_verbs_edit_the_files(site: Site) -> None:
    def verb(*words: str) -> int:
        return subprocess.run(
            [sys.executable, "-m", "reconciler", "-c", str(site.path / "config.yaml"), *words],
            cwd=ROOT, timeout=60, check=False).returncode

    fresh = site.path / "fresh.xml"
    fresh.write_text(XML.format(state="running", memory=128))
    assert verb("create", str(fresh)) == 0
    site.state("running")
    assert verb("plan") == 0
    assert verb("create", str(fresh)) == 1
    assert verb("suspend", "a") == 0
    site.state("paused")
    assert verb("resume", "a") == 0
    site.state("running")
    assert verb("destroy", "a") == 0
    site.until(lambda d: not d)
    assert verb("destroy", "a") == 1


def test_rule_7_a_definition_that_cannot_start_leaves_the_vm_alone(site: Site) -> None:
    site.drop()
    pid = site.state("running")["observed"]["pid"]
    file = site.path / "domains" / "a.xml"
    (site.path / "fresh").write_text(file.read_text().replace("a.img", "b.img"))
    (site.path / "fresh").replace(file)
    found = site.until(lambda d: "b.img" in d["conditions"][0]["message"])
    assert found["observed"]["pid"] == pid
    site.drop()
    assert site.state("running")["observed"]["pid"] == pid
