"""Notifications for single files."""

import asyncio
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from reconciler.host.notify import Notifier, nearest

LIMIT = 5


@asynccontextmanager
async def running():
    notifier = Notifier()
    task = asyncio.create_task(notifier.run())
    try:
        yield notifier
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def watches_in_the_kernel():
    """The inotify watches of this process."""
    return [line for entry in Path("/proc/self/fdinfo").iterdir() if entry.exists()
            for line in entry.read_text().splitlines() if line.startswith("inotify")]


class Seen:
    """Collects, and can be waited for."""

    def __init__(self):
        self.names = []
        self._news = asyncio.Event()

    def __call__(self, name=""):
        self.names.append(name)
        self._news.set()

    async def until(self, name):
        async with asyncio.timeout(LIMIT):
            while name not in self.names:
                self._news.clear()
                await self._news.wait()


async def test_a_new_file_is_reported_to_every_watcher(tmp_path):
    async with running() as notifier:
        one, two = Seen(), Seen()
        notifier.watch(tmp_path, one)
        notifier.watch(tmp_path, two)
        (tmp_path / "a").touch()
        await one.until("a")
        await two.until("a")


async def test_a_closed_watcher_gets_no_events_and_the_others_go_on(tmp_path):
    async with running() as notifier:
        one, two = Seen(), Seen()
        end = notifier.watch(tmp_path, one)
        notifier.watch(tmp_path, two)
        end()
        end()
        (tmp_path / "a").touch()
        await two.until("a")
        assert one.names == []


async def test_a_watch_can_be_begun_again_after_its_end(tmp_path):
    async with running() as notifier:
        notifier.watch(tmp_path, Seen())()
        again = Seen()
        notifier.watch(tmp_path, again)
        (tmp_path / "a").touch()
        await again.until("a")


@pytest.mark.parametrize("change", ["write", "move", "remove", "mode"])
async def test_a_change_that_may_make_a_file_usable_is_reported(tmp_path, change):
    path = tmp_path / "a"
    path.write_bytes(b"1")
    (tmp_path / "b").mkdir()
    async with running() as notifier:
        seen = Seen()
        notifier.watch(tmp_path, seen)
        {"write": lambda: path.write_bytes(b"2"), "remove": path.unlink,
         "move": lambda: path.replace(tmp_path / "b" / "a"),
         "mode": lambda: path.chmod(0o400)}[change]()
        await seen.until("a")


async def test_a_directory_that_went_and_came_back_can_be_watched_again(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    async with running() as notifier:
        first = Seen()
        end = notifier.watch(home, first)
        home.rmdir()
        await first.until("")
        home.mkdir()
        again = Seen()
        notifier.watch(home, again)
        (home / "a").touch()
        await again.until("a")
        await first.until("a")  # the earlier watcher still gets events
        end()


async def test_the_socket_of_a_vm_appearing_sets_its_event(tmp_path):
    async with running() as notifier:
        seen = Seen()
        end = notifier.watch(tmp_path, seen)
        with notifier.appearing(tmp_path / "qmp.sock") as made:
            (tmp_path / "other").touch()
            await seen.until("other")
            assert not made.is_set()
            (tmp_path / "qmp.sock").touch()
            async with asyncio.timeout(LIMIT):
                await made.wait()
        end()
        assert watches_in_the_kernel() == []


async def test_pain_13_after_lost_events_every_watcher_is_woken(tmp_path):
    """More happens than the kernel keeps while we are busy; what came last is not heard."""
    kept = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    (tmp_path / "busy").mkdir()
    async with running() as notifier:
        other = Seen()
        notifier.watch(tmp_path / "busy", lambda _name: None)
        notifier.watch(tmp_path, other)
        with notifier.appearing(tmp_path / "qmp.sock") as made, (
                notifier.appearing(tmp_path / "none.sock")) as not_made:
            for _ in range(kept // 2 + 1):  # made and closed; with no pause for the loop
                (tmp_path / "busy" / "x").touch()
                (tmp_path / "busy" / "x").unlink()
            (tmp_path / "qmp.sock").touch()
            async with asyncio.timeout(LIMIT):
                await made.wait()
            assert other.names == [""]
            assert not not_made.is_set()


async def test_a_directory_that_is_not_there_is_an_error():
    async with running() as notifier:
        with pytest.raises(OSError):
            notifier.watch(__import__("pathlib").Path("/no/such"), Seen())


async def test_files_whose_directories_are_missing_are_awaited_at_the_nearest(tmp_path):
    async with running() as notifier:
        seen = Seen()
        directories = {nearest(str(tmp_path / "deep" / "er" / "a.img")),
                       nearest(str(tmp_path / "b.img"))}
        ends = notifier.watch_directories(directories, seen)
        assert len(ends) == 1
        (tmp_path / "deep").mkdir()
        await seen.until("")
        for end in ends:
            end()
        assert watches_in_the_kernel() == []


async def test_closing_a_watcher_after_the_notifier_is_not_an_error(tmp_path):
    async with running() as notifier:
        ends = notifier.watch_directories([tmp_path], Seen())
        await asyncio.sleep(0)
    for end in ends:
        end()
