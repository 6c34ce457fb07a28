"""Asking a guest to shut down, through its agent on a real socket."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from reconciler.errors import HostError
from reconciler.stratovirt import agent
from tests.hung import hung

LIMIT = 5.0


@asynccontextmanager
async def guest(tmp_path, script):
    path = tmp_path / "agent.sock"
    asked = []
    over = asyncio.Event()

    async def serve(reader, writer):
        try:
            await script(reader, writer, asked)
        finally:
            writer.close()
            over.set()

    async with await asyncio.start_unix_server(serve, str(path)):
        yield path, asked
        async with asyncio.timeout(LIMIT):
            await over.wait()


async def next_command(reader, asked):
    line = await reader.readline()
    if line:
        asked.append(json.loads(line))
    return line


async def test_a_guest_that_listens_is_asked_to_shut_down(tmp_path):
    async def script(reader, writer, asked):
        await next_command(reader, asked)
        writer.write(b'{"return": 1}\n')
        await next_command(reader, asked)

    async with guest(tmp_path, script) as (path, asked):
        await agent.shut_down(path, LIMIT)
    assert asked == [{"execute": "guest-sync", "arguments": {"id": 1}},
                     {"execute": "guest-shutdown", "arguments": {"mode": "powerdown"}}]


async def test_answers_that_an_earlier_client_missed_are_passed_over(tmp_path):
    async def script(reader, writer, asked):
        writer.write(b'{"return": {}}\n{"error": {"class": "x"}}\n{"return": 77}\n')
        await next_command(reader, asked)
        writer.write(b'{"return": 1}\n')
        await next_command(reader, asked)

    async with guest(tmp_path, script) as (path, asked):
        await agent.shut_down(path, LIMIT)
    assert [command["execute"] for command in asked] == ["guest-sync", "guest-shutdown"]


@pytest.mark.parametrize("answer", [None, b"", b"junk\n", b"[]\n", b"1\n", b"\xff\n",
                                    b"x" * 100_000 + b"\n", b"[" * 30_000 + b"\n"],
                         ids=["silent", "closed", "junk", "list", "number", "bytes", "long",
                              "deep"])
async def test_without_an_agent_in_the_guest_the_error_is_raised_in_time(tmp_path, answer):
    async def script(reader, writer, asked):
        await next_command(reader, asked)
        if answer is None:
            await reader.read()
        writer.write(answer or b"")

    async with guest(tmp_path, script) as (path, asked):
        with pytest.raises(HostError, match="the guest agent does not answer: .") as caught:
            await agent.shut_down(path, 0.05 if answer is None else LIMIT)
        assert caught.value.reason == "AgentSilent"
    assert [command["execute"] for command in asked] == ["guest-sync"]


async def test_without_a_socket_the_error_is_raised_at_once(tmp_path):
    with pytest.raises(HostError, match="No such file"):
        await agent.shut_down(tmp_path / "none", LIMIT)


async def test_rule_8_a_socket_on_a_file_system_that_may_hang_is_not_connected_to(tmp_path):
    with hung(tmp_path), pytest.raises(HostError, match="may not answer"):
        async with asyncio.timeout(LIMIT):
            await agent.ping(tmp_path / "agent.sock", LIMIT)
