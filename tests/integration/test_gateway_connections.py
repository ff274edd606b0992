"""What holds on to a connection of a real gateway: too many of them, and those that say too little, too late."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import product

import httpx
import pytest

from ingest.gateway.protocol import HEADER_BYTES_MAX
from tests.integration.running_gateway import RunningGateway, new_topics, running_gateway, until

CONNECTIONS = 3
BODY_SECONDS = 0.4
SECONDS = 10

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def gateway(kafka_bootstrap: str, database_url: str) -> AsyncIterator[RunningGateway]:
    prefix = await new_topics(kafka_bootstrap, 1)
    limits = {"connections": CONNECTIONS, "body_seconds": BODY_SECONDS}
    async with running_gateway(kafka_bootstrap, database_url, prefix, **limits) as running:
        yield running


@asynccontextmanager
async def connection(gateway: RunningGateway) -> AsyncIterator[Streams]:
    url = httpx.URL(gateway.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], str]:
    """Status, headers and code of the next answer."""
    async with asyncio.timeout(SECONDS):
        status_line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        document = json.loads(await reader.readexactly(int(headers["content-length"])))
    return int(status_line.split()[1]), headers, document.get("code", "")


async def is_closed(reader: asyncio.StreamReader) -> bool:
    """Whether nothing more comes, and the gateway says so."""
    async with asyncio.timeout(SECONDS):
        return await reader.read() == b""


async def is_served(gateway: RunningGateway) -> bool:
    async with httpx.AsyncClient() as client:
        return (await client.get(f"{gateway.url}/health/live")).status_code == 200


def request(gateway: RunningGateway, body: bytes, length: int, path: str = "/api/v1/usage-events") -> bytes:
    """A POST that says its body has this length."""
    return (
        b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nauthorization: Bearer %b\r\n"
        b"content-length: %d\r\n\r\n%b" % (path.encode(), gateway.key.encode(), length, body)
    )


async def test_connection_too_many_is_told_so_and_closed_and_the_next_is_taken_when_one_has_gone(
    gateway: RunningGateway,
) -> None:
    async with connection(gateway), connection(gateway):
        async with connection(gateway) as (_, writer):
            assert not await is_served(gateway)  # whoever sends a request all the same reads the answer
            async with connection(gateway) as (reader, _):
                status, headers, code = await answer_of(reader)
                assert (status, code, headers["connection"]) == (503, "unavailable", "close")
                assert int(headers["retry-after"]) >= 1
                assert await is_closed(reader)
            writer.close()
        await until(lambda: is_served(gateway))


async def answered_before(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A request and its answer, after which the connection stays."""
    writer.write(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await answer_of(reader))[0] == 200


async def test_headers_that_trickle_in_are_refused_in_time(gateway: RunningGateway) -> None:
    async def trickle(writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET /health/live HTTP/1.1\r\n")
        while True:
            writer.write(b"x: x\r\n")
            await asyncio.sleep(BODY_SECONDS / 10)

    for is_first in (True, False):
        async with connection(gateway) as (reader, writer):
            if not is_first:
                await answered_before(reader, writer)
            began = asyncio.get_running_loop().time()
            trickling = asyncio.create_task(trickle(writer))
            assert await is_served(gateway)
            status, headers, code = await answer_of(reader)
            assert asyncio.get_running_loop().time() - began >= BODY_SECONDS * 0.9
            trickling.cancel()
            assert (status, code, headers["connection"]) == (400, "invalid_body", "close")


async def test_connection_on_which_no_request_begins_is_closed_without_a_word(gateway: RunningGateway) -> None:
    for is_first, sent in ((True, b""), (True, b"\r\n"), (False, b"\r\n")):
        async with connection(gateway) as (reader, writer):
            if not is_first:
                await answered_before(reader, writer)
            writer.write(sent)
            assert await is_closed(reader)


@pytest.mark.parametrize("pieces", [1, 2, 3])
@pytest.mark.parametrize(("spare", "expected"), [(0, 404), (-1, 400)])
async def test_headers_have_64_kib_and_no_more_however_they_come(
    gateway: RunningGateway, pieces: int, spare: int, expected: int
) -> None:
    path, names = b"/nowhere", b"host" + b"x" + b"long"
    long = b"a" * (HEADER_BYTES_MAX - len(path) - len(names) - spare)
    sent = b"GET %b HTTP/1.1\r\nhost: x\r\nlong: %b\r\n\r\n" % (path, long)
    size = -(-len(sent) // pieces)
    async with connection(gateway) as (reader, writer):
        for begin in range(0, len(sent), size):
            writer.write(sent[begin : begin + size])
            await writer.drain()
            await asyncio.sleep(0.02)  # so that they come one by one
        status, _, _ = await answer_of(reader)
        assert status == expected


async def test_headers_without_an_end_are_refused_before_their_time_is_over(
    kafka_bootstrap: str, database_url: str
) -> None:
    prefix = await new_topics(kafka_bootstrap, 1)
    async with (
        running_gateway(kafka_bootstrap, database_url, prefix, body_seconds=10 * SECONDS) as gateway,
        connection(gateway) as (reader, writer),
    ):
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nlong: ")
        await writer.drain()
        await asyncio.sleep(0.02)  # what comes with the beginning of headers is not counted before they are whole
        writer.write(b"a" * (HEADER_BYTES_MAX + 1))
        assert (await answer_of(reader))[0] == 400
        assert await is_closed(reader)


async def test_body_shorter_than_its_length_is_refused_in_time_and_at_once_where_it_ends(
    gateway: RunningGateway,
) -> None:
    paths = ("/api/v1/usage-events", "/api/v1/usage-events/batch", "/api/v1/services")
    for path, ends in product(paths, (False, True)):
        async with connection(gateway) as (reader, writer):
            writer.write(request(gateway, b'{"name":"n"', 50, path))
            began = asyncio.get_running_loop().time()
            if ends:
                writer.write_eof()
            status, _, code = await answer_of(reader)
            assert (status, code) == (400, "invalid_body")
            assert (asyncio.get_running_loop().time() - began >= BODY_SECONDS * 0.9) is not ends


async def test_body_longer_than_its_length_is_refused_and_its_rest_is_no_request(gateway: RunningGateway) -> None:
    async with connection(gateway) as (reader, writer):
        writer.write(request(gateway, b'{"name":"n"}', 5, "/api/v1/services"))
        status, headers, code = await answer_of(reader)
        assert (status, code, headers["connection"]) == (400, "invalid_body", "close")
        assert await is_closed(reader)


async def test_rest_of_a_refused_body_may_not_trickle_in_for_ever(gateway: RunningGateway) -> None:
    async with connection(gateway) as (reader, writer):
        writer.write(request(gateway, b"", 10**9))
        assert (await answer_of(reader))[::2] == (413, "body_too_large")
        writer.write(b"x")
        assert await is_closed(reader)


async def test_who_sends_no_more_still_gets_the_answer(gateway: RunningGateway) -> None:
    async with connection(gateway) as (reader, writer):
        body = b'{"name":"n"}'
        writer.write(request(gateway, body, len(body), "/api/v1/services"))
        writer.write_eof()
        async with asyncio.timeout(SECONDS):
            answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 201 ")
        assert b"\r\nconnection: close\r\n" in answer
