"""Firmware variables stay with their uuid."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier

import pytest

from reconciler.errors import HostError
from reconciler.host.variables import follow


@pytest.fixture
def tmp_path(tmp_path):
    """The directory of the files, within a directory that no other test has."""
    (tmp_path / "nvram").mkdir()
    return tmp_path / "nvram"


def contents(path):
    return {file.name: file.read_text() for file in path.iterdir() if file.is_file()}


@pytest.mark.parametrize("marked", [True, False])
def test_a_renamed_domain_keeps_its_variables(tmp_path, marked):
    a, b = tmp_path / "a_VARS.fd", tmp_path / "b_VARS.fd"
    a.write_text("of 1")
    if marked:
        follow("1", a, None)
    follow("1", b, a)
    follow("1", b, a)  # the next start
    assert contents(tmp_path) == {"b_VARS.fd": "of 1"}
    follow("1", a, b)  # and back
    assert contents(tmp_path) == {"a_VARS.fd": "of 1"}


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("first", ["1", "2"])
def test_domains_that_exchange_their_names_keep_theirs(tmp_path, marked, first):
    files = {"1": tmp_path / "a_VARS.fd", "2": tmp_path / "b_VARS.fd"}
    after = {"1": files["2"], "2": files["1"]}
    for uuid, file in files.items():
        file.write_text(f"of {uuid}")
        if marked:
            follow(uuid, file, None)
    for uuid in sorted(files, key=lambda uuid: uuid != first):
        follow(uuid, after[uuid], files[uuid])
    assert contents(tmp_path) == {"a_VARS.fd": "of 2", "b_VARS.fd": "of 1"}


def test_a_chain_of_renames(tmp_path):
    names = {uuid: tmp_path / f"{uuid}_VARS.fd" for uuid in "1234"}
    for uuid, file in names.items():
        file.write_text(f"of {uuid}")
        follow(uuid, file, None)
    for uuid, new in (("1", "2"), ("2", "3"), ("3", "4"), ("4", "1")):
        follow(uuid, names[new], names[uuid])
    assert contents(tmp_path) == {"2_VARS.fd": "of 1", "3_VARS.fd": "of 2", "4_VARS.fd": "of 3",
                                  "1_VARS.fd": "of 4"}


def test_a_new_domain_has_none_yet_and_what_is_there_is_its_own(tmp_path):
    follow("1", tmp_path / "a_VARS.fd", None)
    assert contents(tmp_path) == {}
    (tmp_path / "b_VARS.fd").write_text("prepared")
    follow("2", tmp_path / "b_VARS.fd", None)
    assert contents(tmp_path) == {"b_VARS.fd": "prepared"}


def test_what_cannot_be_renamed_is_an_error_of_the_host(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="cannot be renamed"):
        follow("1", tmp_path / "file" / "x" / "a_VARS.fd", None)


class Killed(BaseException):
    """As if the reconciler was killed here."""


@pytest.mark.parametrize("step", range(1, 8))
@pytest.mark.parametrize("next_is", ["1", "2"])
def test_a_kill_at_any_step_of_an_exchange_takes_no_variables(tmp_path, step, next_is):
    files = {"1": tmp_path / "a_VARS.fd", "2": tmp_path / "b_VARS.fd"}
    after = {"1": files["2"], "2": files["1"]}
    for uuid, file in files.items():
        file.write_text(f"of {uuid}")
        follow(uuid, file, None)
    steps = itertools.count(1)

    def reached(_point):
        if next(steps) == step:
            raise Killed

    with suppress(Killed):
        for uuid, file in files.items():
            follow(uuid, after[uuid], file, reached)
    for uuid in sorted(files, key=lambda uuid: uuid != next_is):  # the next reconciler
        follow(uuid, after[uuid], None)
    assert contents(tmp_path) == {"a_VARS.fd": "of 2", "b_VARS.fd": "of 1"}


def test_two_domains_that_exchange_their_names_at_the_same_moment_each_keep_their_own(tmp_path):
    """Each is prepared by a thread of its own."""
    names = {"1": "a", "2": "b"}
    for uuid, name in names.items():
        file = tmp_path / f"{name}_VARS.fd"
        file.write_text(f"of {uuid}")
        follow(uuid, file, None)
    with ThreadPoolExecutor(2) as threads:
        for _ in range(200):
            names = {"1": names["2"], "2": names["1"]}
            together = Barrier(2)

            def prepare(uuid, together=together, names=names):
                together.wait()
                file = tmp_path / f"{names[uuid]}_VARS.fd"
                follow(uuid, file, None)
                follow(uuid, file, None)

            list(threads.map(prepare, names))
            assert {uuid: (tmp_path / f"{name}_VARS.fd").read_text()
                    for uuid, name in names.items()} == {"1": "of 1", "2": "of 2"}
