"""What wakes us, with real inotify: everything that finishes a change, and nothing else."""

from __future__ import annotations

import os
import queue
import time

import pytest
from watchdog.observers.inotify_c import InotifyConstants, InotifyEvent

from reconciler.sources.directory import Directory
from reconciler.sources.watch import Watch

LIMIT = 5.0
SETTLE = 30.0  # so long that only the watch can finish a file


class Watched:
    def __init__(self, path):
        self.directory = Directory(path, ("*.xml",), SETTLE)
        self.wakes = queue.Queue()
        self.ours = path.parents[1] / f"run of {path.parent.name}"
        self.ours.mkdir(exist_ok=True)
        self.watch = Watch(self.directory, self.wakes.put, SETTLE, self.ours / ".watched")

    def woken(self):
        """Wait for the next wake-up that is due at once."""
        while self.wakes.get(timeout=LIMIT):
            continue
        self.watch.follow()

    def until(self, true):
        """Look at each wake-up until it is so."""
        while True:
            self.woken()
            if true(self.directory.listing()):
                return

    def rest(self, barrier):
        """All that came up to now: `barrier` is a file whose closing wakes; its delays."""
        barrier.touch()
        found = []
        while barrier.name not in self.directory.finished or not self.wakes.empty():
            found.append(self.wakes.get(timeout=LIMIT))
        return found


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "domains"
    found.mkdir()
    (found / "a.xml").write_bytes(b"old")
    return found


@pytest.fixture
def watched(path):
    found = Watched(path)
    yield found
    found.watch.stop()
    assert not found.watch.alive


def files(**wanted):
    return lambda listing: listing.files == {
        f"{name}.xml": data for name, data in wanted.items()}


def test_a_rename_into_place_is_finished_at_once(watched, path):
    (path / ".fresh").write_bytes(b"new")
    (path / ".fresh").replace(path / "a.xml")
    watched.until(files(a=b"new"))


def test_a_rename_from_another_directory_is_finished_at_once(watched, path, tmp_path):
    (tmp_path / "fresh").write_bytes(b"new")
    (tmp_path / "fresh").replace(path / "a.xml")
    watched.until(files(a=b"new"))


def test_a_new_file_is_finished_when_its_writer_closes_it(watched, path):
    (path / "a.xml").unlink()
    with (path / "b.xml").open("wb") as file:
        file.write(b"half")
        file.flush()
        watched.until(lambda listing: listing.unfinished == {"b.xml"})
        file.write(b" and all")
    watched.until(files(b=b"half and all"))


def test_a_rewrite_in_place_is_finished_when_it_is_closed(watched, path):
    with (path / "a.xml").open("r+b") as file:
        file.write(b"new contents")
        file.flush()
        assert watched.directory.listing().unfinished == {"a.xml"}
    watched.until(files(a=b"new contents"))


def test_half_a_write_wakes_nobody(watched, path):
    with (path / "a.xml").open("r+b") as file:
        for _ in range(50):
            file.write(b"more")
            file.flush()
        delays = watched.rest(path / "z.xml")
    assert len(delays) <= 4  # z.xml is made and closed; a.xml is not yet


def test_reading_and_other_files_wake_nobody(watched, path):
    for _ in range(20):
        (path / "a.xml").read_bytes()
        (path / "notes.txt").write_bytes(b"x")
        (path / ".a.xml.swp").write_bytes(b"x")
        os.listdir(path)
    (path / "notes.txt").unlink()
    assert len(watched.rest(path / "z.xml")) <= 4


def test_a_removal_wakes(watched, path):
    (path / "a.xml").unlink()
    watched.until(files())


def test_a_file_that_is_moved_out_is_gone(watched, path, tmp_path):
    (path / "a.xml").replace(tmp_path / "a.xml")
    watched.until(files())


def test_half_a_rename_is_not_held_back_to_be_paired(watched, path, tmp_path):
    took = []
    for _ in range(3):
        begun = time.monotonic()
        (path / "a.xml").replace(tmp_path / "a.xml")
        watched.until(files())
        took.append(time.monotonic() - begun)
        (tmp_path / "a.xml").replace(path / "a.xml")
        watched.until(files(a=b"old"))
    assert min(took) < 0.4  # watchdog itself waits for half a second


def test_a_file_that_is_hidden_by_its_new_name_is_gone(watched, path):
    (path / "a.xml").rename(path / "a.xml.off")
    watched.until(files())


def test_a_directory_that_is_replaced_is_followed(watched, path, tmp_path):
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    (fresh / "b.xml").write_bytes(b"B")
    os.utime(fresh / "b.xml", (1, 1))
    path.rename(tmp_path / "before")
    watched.woken()
    fresh.rename(path)
    watched.until(files(b=b"B"))
    # From now on the new one is heard.
    (path / ".c").write_bytes(b"C")
    (path / ".c").replace(path / "c.xml")
    watched.until(files(b=b"B", c=b"C"))


def test_a_directory_that_comes_late_is_followed(tmp_path):
    path = tmp_path / "deep" / "domains"
    found = Watched(path)
    try:
        path.parent.mkdir()
        found.watch.follow()
        path.mkdir()
        found.woken()
        (path / "a.xml").write_bytes(b"A")
        found.until(files(a=b"A"))
    finally:
        found.watch.stop()


@pytest.mark.parametrize("depth", ["the directory", "above it"])
def test_a_swapped_symbolic_link_is_followed(tmp_path, depth):
    """As git-sync and Kubernetes' config maps do it: the link is replaced by a rename."""
    inner = "" if depth == "the directory" else "domains"
    for name in ("one", "two"):
        (tmp_path / name / inner).mkdir(parents=True)
        (tmp_path / name / inner / "a.xml").write_bytes(name.encode())
        os.utime(tmp_path / name / inner / "a.xml", (1, 1))
    link = tmp_path / "link"
    link.symlink_to("one")
    found = Watched(link / inner)
    try:
        assert files(a=b"one")(found.directory.listing())
        (tmp_path / "fresh").symlink_to("two")
        (tmp_path / "fresh").replace(link)
        found.until(files(a=b"two"))
        (tmp_path / "two" / inner / "a.xml").unlink()
        found.until(files())
    finally:
        found.watch.stop()


# That it does not fail in silence


def answering(watched):
    """Asked until it answers, as a heartbeat asks."""
    deadline = time.monotonic() + LIMIT
    while not watched.watch.answers():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_pain_13_it_hears_of_its_probe_and_wakes_nobody_for_it(watched, path):
    answering(watched)
    for _ in range(3):
        answering(watched)
    assert len(watched.rest(path / "z.xml")) <= 2
    watched.ours.rename(watched.ours.with_name("elsewhere"))
    watched.watch.answers()
    assert watched.watch.answers()  # it cannot be asked: that proves nothing
    watched.ours.mkdir()
    watched.watch.answers()
    answering(watched)  # the one that took its place is watched


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("thread", ["tells", "reads", "waits"])
def test_pain_13_the_end_of_any_of_its_threads_is_seen(path, thread):
    watched = Watched(path)
    observer = watched.watch._observer
    answering(watched)
    match thread:
        case "tells":
            observer.event_queue.put("no event")
            observer.join(LIMIT)
        case "reads":
            observer._reader.stop()
            observer._reader.join(LIMIT)
        case "waits":
            emitter = min(observer.emitters, key=lambda one: one.watch.path)
            emitter._inotify._move_event_grouper._queue.put("no event")
            emitter.join(LIMIT)
    assert not watched.watch.alive
    assert not watched.watch.answers()
    watched.watch.stop()


def deafen(watched):
    """As if the kernel had forgotten us."""
    for emitter in watched.watch._observer.emitters:
        emitter._inotify._remove_callbacks(list(emitter._inotify._active_callbacks_by_watch))


def test_pain_13_after_lost_events_it_listens_anew_and_all_is_read_again(watched, path):
    os.utime(path / "a.xml", (1, 1))
    watched.directory.listing()
    watched.directory.listing()
    assert watched.directory.reads == 1
    deafen(watched)  # what ended the watch was among what was lost
    watched.watch._observer._reader.handle_event(
        InotifyEvent(-1, InotifyConstants.IN_Q_OVERFLOW, 0, b""))
    watched.woken()
    watched.directory.listing()
    assert watched.directory.reads == 2
    (path / "a.xml").unlink()
    watched.until(files())


def test_pain_13_one_that_is_deaf_is_seen_and_listens_anew(watched, path):
    answering(watched)
    deafen(watched)
    watched.watch.answers()
    assert not watched.watch.answers()
    assert watched.watch.alive
    answering(watched)
    (path / "a.xml").unlink()
    watched.until(files())


def test_following_what_did_not_change_does_nothing(watched):
    before = watched.watch._points
    watched.watch.follow()
    assert watched.watch._points is before
