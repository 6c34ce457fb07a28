"""The watch, with real inotify: every finished change wakes the engine, and nothing else does."""

from __future__ import annotations

import os
import queue
import shutil
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from watchdog.observers.api import BaseObserver, EventEmitter

from reconciler.sources.directory import Directory
from reconciler.sources.survey import survey
from reconciler.sources.watch import Watch
from tests.counting import reads

LIMIT = 5.0
SETTLE = 30.0  # so long that only the watch can finish a file
QUEUE = Path("/proc/sys/fs/inotify/max_queued_events")


class Watched:
    def __init__(self, path):
        self.directory = Directory(path, ("*.xml",), SETTLE)
        self.wakes = queue.Queue()
        self.ours = path.parents[1] / f"run of {path.parent.name}"
        self.ours.mkdir(exist_ok=True)
        self.watch = Watch(self.directory, self.wakes.put, SETTLE, self.ours / ".watched")
        self.follow()

    def follow(self):
        return self.watch.follow(survey(self.directory.path, self.ours))

    def woken(self):
        """Wait for the next wake-up that is due at once."""
        while self.wakes.get(timeout=LIMIT):
            continue
        self.follow()

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


def test_an_unfinished_write_does_not_wake(watched, path):
    with (path / "a.xml").open("r+b") as file:
        for _ in range(50):
            file.write(b"more")
            file.flush()
        delays = watched.rest(path / "z.xml")
    assert len(delays) <= 4  # z.xml is made and closed; a.xml is not yet


def test_reading_and_other_files_do_not_wake(watched, path):
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
    # From now on, events of the new one arrive.
    (path / ".c").write_bytes(b"C")
    (path / ".c").replace(path / "c.xml")
    watched.until(files(b=b"B", c=b"C"))


def test_a_directory_that_comes_late_is_followed(tmp_path):
    path = tmp_path / "deep" / "domains"
    found = Watched(path)
    try:
        path.parent.mkdir()
        found.follow()
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
    """Asked until it answers, as a heartbeat asks; how often it did not, and asked for a look."""
    deadline = time.monotonic() + LIMIT
    missed = 0
    while not watched.watch.answers():
        assert time.monotonic() < deadline
        missed += 1
        time.sleep(0.01)
        watched.follow()
    return missed


def threads(kind):
    """watchdog's threads of the only watch there is."""
    return [thread for thread in threading.enumerate() if isinstance(thread, kind)]


def emitter_of(path):
    """The thread that reads the events of a directory."""
    return next(one for one in threads(EventEmitter) if one.watch.path == str(path))


def wake_up(path):
    """Give the thread of a directory something to read."""
    (path / "notes.txt").write_bytes(b"")


@contextmanager
def paused(path):
    """No events of the directory are read meanwhile: they queue up in the kernel."""
    emitter, reading, go = emitter_of(path), threading.Event(), threading.Event()
    read = emitter.queue_events

    def wait(timeout):
        reading.set()
        assert go.wait(LIMIT)
        read(timeout)

    emitter.queue_events = wait
    wake_up(path)
    assert reading.wait(LIMIT)
    try:
        yield
    finally:
        emitter.queue_events = read
        go.set()


def deafen():
    """Let every thread go on, and read nothing more."""
    for emitter in threads(EventEmitter):
        deaf = threading.Event()
        emitter.queue_events = lambda _timeout, deaf=deaf: deaf.set() or time.sleep(0.001)
        wake_up(Path(emitter.watch.path))
        assert deaf.wait(LIMIT)


def test_pain_13_events_of_the_probe_arrive_and_do_not_wake(watched, path):
    missed = sum(answering(watched) for _ in range(4))
    assert len(watched.rest(path / "z.xml")) <= 2 + missed
    watched.ours.rename(watched.ours.with_name("elsewhere"))
    watched.watch.answers()
    assert watched.watch.answers()  # no probe can be made: not a failure
    watched.ours.mkdir()
    watched.watch.answers()
    answering(watched)  # the new directory of the probe is watched


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("kind", [BaseObserver, EventEmitter])
def test_pain_13_the_end_of_any_of_its_threads_is_seen(path, kind):
    watched = Watched(path)
    answering(watched)
    thread = threads(kind)[0]
    if kind is BaseObserver:
        thread.event_queue.put("not an event")
    else:
        thread.queue_events = None
        wake_up(Path(thread.watch.path))
    thread.join(LIMIT)
    assert not watched.watch.alive
    assert not watched.watch.answers()
    watched.watch.stop()


def test_no_thread_is_left_after_a_stop(path):
    before = threading.active_count()
    watched = Watched(path)
    assert len(threads(EventEmitter)) > 1
    watched.watch.stop()
    assert threading.active_count() == before


def delete(path):
    """Delete a watched directory; returns once its thread has ended."""
    found = [one for one in threads(EventEmitter) if one.watch.path == str(path)]
    shutil.rmtree(path)
    for one in found:
        one.join(LIMIT)
        assert not one.is_alive()


def test_a_deleted_directory_is_not_a_fault_and_is_watched_again_when_it_is_back(watched, path):
    delete(path)
    assert watched.watch.alive
    path.mkdir()
    watched.woken()
    (path / "b.xml").write_bytes(b"B")
    watched.until(files(b=b"B"))


def test_a_new_directory_with_the_inode_of_the_deleted_one_is_watched(watched, path):
    """Most file systems give a free inode number to the next file, unless another one takes it."""
    deadline = time.monotonic() + LIMIT
    while True:
        inode = os.stat(path).st_ino
        delete(path)
        path.mkdir()
        if os.stat(path).st_ino == inode or time.monotonic() > deadline:
            break
        watched.follow()
        assert emitter_of(path).is_alive()
    watched.follow()
    assert emitter_of(path).is_alive()
    (path / "b.xml").write_bytes(b"B")
    watched.until(files(b=b"B"))


def test_pain_13_after_lost_events_all_is_read_again_and_watched_again(watched, path):
    os.utime(path / "a.xml", (1, 1))
    with reads() as read:
        watched.directory.listing()
        watched.directory.listing()
        assert read == ["a.xml"]
    before = set(threads(EventEmitter))
    with paused(path):
        names = path / "x.txt", path / "y.txt"
        for number in range(int(QUEUE.read_text())):  # more than the kernel keeps
            names[number % 2].write_bytes(b"")
        (path / "b.xml").write_bytes(b"B")  # lost
        os.utime(path / "b.xml", (1, 1))  # has rested long enough
    with reads() as read:
        watched.until(files(a=b"old", b=b"B"))
        assert sorted(read) == ["a.xml", "b.xml"]
    assert not before & set(threads(EventEmitter))
    (path / "a.xml").unlink()
    watched.until(files(b=b"B"))


def test_pain_13_a_watch_without_events_is_detected_and_restarted(watched, path):
    answering(watched)
    deafen()
    watched.watch.answers()
    assert not watched.watch.answers()
    assert watched.watch.alive
    answering(watched)
    (path / "a.xml").unlink()
    watched.until(files())


def test_following_what_did_not_change_does_nothing(watched):
    before = threads(EventEmitter)
    assert not watched.follow()
    assert threads(EventEmitter) == before
