"""What StratoVirt wrote is kept over a restart, and has a limit."""

from __future__ import annotations

import os
import stat

from reconciler.stratovirt.stderr_log import (
    KEPT,
    LIMIT,
    STDERR,
    move,
    open_log,
    remove_others,
    shorten_all,
)


def written(log, home, text):
    handle = open_log(log, home)
    os.write(handle, text)
    return handle


def test_the_files_of_the_last_processes_are_kept(tmp_path):
    log = tmp_path / "logs" / "u"
    for number in range(KEPT + 2):
        os.close(written(log, tmp_path, b"%d" % number))
    assert {path.name: path.read_text() for path in log.iterdir()} == {
        "stderr": "4", "stderr.1": "3", "stderr.2": "2", "stderr.3": "1"}
    assert (tmp_path / STDERR).read_text() == "4"
    assert stat.S_IMODE((log / STDERR).stat().st_mode) == 0o600


def test_a_file_without_end_is_shortened_while_the_vm_appends_to_it(tmp_path):
    log = tmp_path / "logs" / "u"
    handle = written(log, tmp_path, b"a line\n" * LIMIT)
    shorten_all(tmp_path / "logs")
    assert (log / STDERR).stat().st_size <= LIMIT // 2
    os.write(handle, b"the end\n")
    os.close(handle)
    text = (log / STDERR).read_text()
    assert text.startswith("a line\na line\n")
    assert text.endswith("a line\nthe end\n")
    shorten_all(tmp_path / "logs")
    assert (log / STDERR).read_text() == text


def test_a_state_directory_that_cannot_be_written_to_keeps_no_vm_from_starting(tmp_path):
    (tmp_path / "logs").write_text("a file")
    os.close(written(tmp_path / "logs" / "u", tmp_path, b"all the same"))
    assert (tmp_path / STDERR).read_text() == "all the same"


def test_the_files_go_with_the_domain_and_follow_its_uuid(tmp_path):
    logs = tmp_path / "logs"
    os.close(written(logs / "u", tmp_path, b"mine"))
    move(logs / "u", logs / "v", tmp_path)
    assert (tmp_path / STDERR).read_text() == "mine"
    os.close(written(logs / "w", tmp_path / "logs", b"x"))
    remove_others(logs, {"v"})
    assert [path.name for path in logs.iterdir() if path.is_dir()] == ["v"]
