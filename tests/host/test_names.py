"""Name servers that do not answer keep only those waiting who ask for these names."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from reconciler.host.names import Names

LIMIT = 10.0


@pytest.fixture
def servers(monkeypatch):
    """Names that end with `dead` are looked up for as long as the test likes."""
    go_on, asked, real = threading.Event(), [], socket.getaddrinfo

    def look_up(host, *words, **more):
        asked.append(host)
        if host.endswith("dead"):
            go_on.wait(LIMIT)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return real(host, *words, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    go_on.asked = asked
    yield go_on
    go_on.set()


async def test_rule_8_a_name_is_looked_up_by_one_thread_however_often_it_is_asked_for(servers):
    names = Names()
    for _ in range(5):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await names.addresses("db.dead")
    assert servers.asked == ["db.dead"]
    assert "127.0.0.1" in await names.addresses("127.0.0.1")
    servers.set()
    with pytest.raises(OSError, match="Temporary failure"):
        await names.addresses("db.dead")
    with pytest.raises(OSError, match="Temporary failure"):  # nothing is kept
        await names.addresses("db.dead")
    assert servers.asked.count("db.dead") == 2


async def test_rule_8_lookups_have_their_own_threads_and_only_so_many(servers):
    names = Names()
    waits = [asyncio.create_task(names.addresses(f"{number}.dead")) for number in range(100)]
    assert await asyncio.to_thread(max, 1, 2) == 2
    async with asyncio.timeout(LIMIT):
        while len(servers.asked) < 64:
            await asyncio.sleep(0.01)
    assert len(servers.asked) == 64
    servers.set()
    assert len([e for e in await asyncio.gather(*waits, return_exceptions=True)
                if isinstance(e, OSError)]) == 100
