"""From a file to a running VM, against its floor: the same command line started raw.

    python -m bench.start [--runs 30] [--hypervisor PROGRAM [--argument=-disable-seccomp]]

Both end when the VM answers `running` on its second monitor. Pairs alternate, so that a machine
whose speed drifts drifts for both; medians and their ratio are printed. Goal: at most 1.05.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from reconciler import samples
from reconciler.cli.client import ask
from reconciler.errors import ReconcilerError
from reconciler.report.requests import Request
from reconciler.settings import load

ROOT = Path(__file__).parents[1]
DOMAIN = """<domain type='kvm'><name>bench</name><memory unit='MiB'>128</memory>
<os><type machine='q35'>hvm</type>
<loader type='pflash' readonly='yes'>sample-firmware.fd</loader></os>
<devices><disk type='file'><driver cache='writeback'/><source file='sample-running.img'/>
<target dev='vda' bus='virtio'/></disk></devices></domain>"""


def answers(path: Path) -> None:
    """Until the VM says `running`; busy, so that both sides are measured alike."""
    while True:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(path))
                client.settimeout(5)
                if client.recv(4096):
                    client.sendall(b'{"execute": "query-status"}')
                    if b'"running":true' in client.recv(4096).replace(b" ", b""):
                        return
            except OSError:
                time.sleep(0.0002)


def gone(pid: int) -> None:
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.001)


def raw(words: list[str], monitor: Path) -> float:
    begun = time.perf_counter()
    child = subprocess.Popen(words, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    answers(monitor)
    taken = time.perf_counter() - begun
    with socket.socket(socket.AF_UNIX) as client:  # ended as the other side ends it, too
        client.connect(str(monitor))
        client.recv(4096)
        client.sendall(b'{"execute": "quit"}')
        client.recv(4096)
    try:
        child.wait(5)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    return taken


def reconciled(site: Path, monitor: Path, settings) -> float:
    fresh = site / "fresh.xml"
    fresh.write_text(DOMAIN)
    begun = time.perf_counter()
    fresh.rename(site / "domains" / "bench.xml")
    answers(monitor)
    taken = time.perf_counter() - begun
    (site / "domains" / "bench.xml").unlink()
    while ask(settings, Request.STATUS)["domains"]:
        time.sleep(0.01)
    return taken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--hypervisor", default="simulator")
    parser.add_argument("--argument", action="append", default=[])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        site = Path(directory)
        (site / "domains").mkdir()
        samples.make(site / "images")
        (site / "config.yaml").write_text(json.dumps({
            "paths": {"runtime": "run", "state": "state", "images": "images"},
            "hypervisor": {"path": options.hypervisor, "arguments": options.argument},
            "prune": {"settle": "50ms"}}))
        settings = load(site / "config.yaml", {})
        words = explained(site)
        other = [w.replace("/vms/bench/", "/") for w in words]
        reconciler = subprocess.Popen(
            [sys.executable, "-m", "reconciler", "-c", str(site / "config.yaml"), "run"],
            cwd=ROOT, stderr=subprocess.DEVNULL)
        try:
            ready(settings)
            pairs = [(raw(other, site / "run" / "monitor.sock"),
                      reconciled(site, site / "run" / "vms" / "bench" / "monitor.sock", settings))
                     for _ in range(options.runs + 1)][1:]
        finally:
            reconciler.terminate()
            reconciler.wait()
    floor = statistics.median(p[0] for p in pairs) * 1e3
    ours = statistics.median(p[1] for p in pairs) * 1e3
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"raw start {floor:.2f} ms, file to running {ours:.2f} ms, ratio {ours / floor:.3f} "
          f"(median of pairs {ratio:.3f}, {len(pairs)} pairs)")
    return 0


def explained(site: Path) -> list[str]:
    (site / "domains" / "bench.xml").write_text(DOMAIN)
    out = subprocess.run([sys.executable, "-m", "reconciler", "-c", str(site / "config.yaml"),
                          "explain", "bench", "-o", "json"], cwd=ROOT, capture_output=True,
                         check=True)
    (site / "domains" / "bench.xml").unlink()
    os.makedirs(site / "run", exist_ok=True)
    return json.loads(out.stdout)["commandLine"]


def ready(settings) -> None:
    while True:
        try:
            ask(settings, Request.READY)
        except ReconcilerError:
            time.sleep(0.02)
        else:
            return


if __name__ == "__main__":
    sys.exit(main())
