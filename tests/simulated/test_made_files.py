"""Sockets and logs of a VM never take the place of anything that its VM did not make."""

from __future__ import annotations

import os
import shutil
import signal
import socket

import pytest

from tests.simulated.site import ready, reason


def serial(kind, path):
    mode = " mode='bind'" if kind == "unix" else ""
    return f"<serial type='{kind}'><source{mode} path='{path}'/></serial>"


@pytest.mark.parametrize("kind", ["unix", "file"])
def test_a_disk_image_is_not_replaced_by_a_socket_or_a_log(site, kind):
    image = site.path / "images" / "db.img"
    image.write_bytes(b"data" * 1000)
    site.drop(devices=serial(kind, "db.img"))
    found = site.domain(lambda d: reason(d) == "MissingFile")
    assert str(image) in found["conditions"][0]["message"]
    assert image.read_bytes() == b"data" * 1000
    assert not site.processes()
    image.unlink()  # it is attempted again at once
    site.settled("running")


def test_a_running_vm_is_not_stopped_for_a_socket_that_another_process_has(site):
    path = site.path / "images" / "s.sock"
    site.drop()
    pid = site.settled("running")["observed"]["pid"]
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        site.drop(devices=serial("unix", "s.sock"))
        found = site.domain(lambda d: reason(d) == "MissingFile")
        assert "another process listens there" in found["conditions"][0]["message"]
        assert found["observed"]["pid"] == pid
        path.unlink()
    site.domain(lambda d: ready(d) and d["observed"]["pid"] not in (pid, None))


def test_a_vm_keeps_its_own_log_over_crashes_changes_restarts_and_a_reboot(site):
    log = site.path / "images" / "a.log"

    def up(pid):
        found = site.domain(lambda d: ready(d) and d["observed"]["pid"] not in (pid, None))
        log.write_text("what the guest said")
        return found["observed"]["pid"]

    site.drop(devices=serial("file", "a.log"))
    pid = up(None)
    os.kill(pid, signal.SIGKILL)
    pid = up(pid)
    site.drop(devices=serial("file", "a.log"), memory=256)
    pid = up(pid)
    site.kill()
    os.kill(pid, signal.SIGKILL)
    site.start()
    pid = up(pid)
    site.kill()
    os.kill(pid, signal.SIGKILL)
    shutil.rmtree(site.settings.runtime)
    site.start()
    up(pid)
