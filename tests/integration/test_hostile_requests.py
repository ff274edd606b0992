"""Requests that mean harm, to a gateway's process over real sockets: each gets its 4xx, costs next to nothing, and
holds up nobody."""

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from deploy.migrate import migrate
from tests.integration.catalog_world import PLAN, SERVICE
from tests.integration.test_gateway import event
from tests.integration.test_shutdown import gateway

JSON = {"content-type": "application/json"}
EVENTS, BATCH, SERVICES, PLANS = "/usage-events", "/usage-events/batch", "/services", "/plans"

CPU_SECONDS_MAX = 0.5
"""Measured: 0.02 s of the slowest, a batch of 10 MB. It leaves room for a slow machine and for whoever is served
beside, and none for parsing a million keys (1.4 s)."""

GROWTH_BYTES_MAX = 64 * 2**20
"""Measured: 14 MiB. The large batches come five times: if one was kept each time, or its million keys were parsed (150
MiB), it would be more."""


def encoded(document: Any) -> bytes:
    return json.dumps(document).encode()


def with_value(document: dict[str, Any], field: str, literal: bytes) -> bytes:
    """The document, a field of which has these very bytes."""
    return encoded({**document, field: "VALUE"}).replace(b'"VALUE"', literal)


def nested(depth: int) -> bytes:
    return b'{"x":' + b"[" * depth + b"]" * depth + b"}"


MILLION_KEYS = b"{%b}" % b",".join(b'"%d":0' % number for number in range(1_000_000))
MEGABYTES_10 = encoded(event(note="n" * 10 * 2**20))

# What is in the way of any document, whatever the endpoint.
MALFORMED: list[tuple[str, bytes]] = [
    ("a byte order mark", b"\xef\xbb\xbf" + encoded(SERVICE)),
    ("UTF-16", encoded(SERVICE).decode().encode("utf-16")),
    ("not UTF-8", with_value(SERVICE, "name", b'"\xff"')),
    ("NUL between", encoded(SERVICE).replace(b" ", b"\x00")),
    ("lone surrogate", with_value(SERVICE, "name", b'"\\udc00"')),
    ("NaN", with_value(SERVICE, "name", b"NaN")),
    ("-Infinity", with_value(SERVICE, "name", b"-Infinity")),
    ("keys twice", b'{"name":"a","name":"b"}'),
    ("keys twice, one escaped", b'{"name":"a","\\u006eame":"b"}'),
    ("33 deep", nested(33)),
    ("30,000 deep", nested(30_000)),
    ("30,000 deep and cut off", b"[" * 30_000),
    ("5,000 digits", with_value(SERVICE, "name", b"9" * 5_000)),
    ("gzip, unsaid", gzip.compress(encoded(SERVICE))),
]

# A decimal of an endpoint's own: quantity, amount, the price of a meter.
DECIMALS: list[tuple[bytes, str]] = [
    (b'"1_0"', "decimal_invalid"),
    (b'"\xd9\xa1\xd9\xa2"', "decimal_invalid"),
    (b"true", "decimal_invalid"),
    (b"[1]", "decimal_invalid"),
    (b'""', "decimal_invalid"),
    (b'"0x10"', "decimal_invalid"),
    (b'"NaN"', "decimal_invalid"),
    (b'"%b"' % (b"9" * 5_000), "decimal_invalid"),  # at most 64 characters
    (b"1e999999", "decimal_out_of_range"),
    (b"1e-999999", "decimal_too_precise"),
    (b'"1e999999999999999999999"', "decimal_out_of_range"),
    (b"-1e999999", "decimal_negative"),
]

UNSUPPORTED = "unsupported_media_type"

Row = tuple[str, str, bytes, dict[str, str], int, str]


def rows() -> list[Row]:
    """Name, path, body, headers, status and code of each."""
    found: list[Row] = []
    for path in (EVENTS, BATCH, SERVICES):
        found += [(name, path, body, JSON, 400, "invalid_body") for name, body in MALFORMED]
        found += [
            ("gzip", path, gzip.compress(encoded(SERVICE)), {**JSON, "content-encoding": "gzip"}, 415, UNSUPPORTED),
            ("deflate", path, b"x", {**JSON, "content-encoding": "identity, deflate"}, 415, UNSUPPORTED),
            ("XML", path, b"<a/>", {"content-type": "text/xml"}, 415, UNSUPPORTED),
            ("no type", path, encoded(SERVICE), {}, 415, UNSUPPORTED),
            ("a form", path, b"a=b", {"content-type": "multipart/form-data; boundary=x"}, 415, UNSUPPORTED),
        ]
    for path in (EVENTS, SERVICES):
        found += [
            ("100,000 deep", path, nested(100_000), JSON, 413, "body_too_large"),
            ("1,000,000 keys", path, MILLION_KEYS, JSON, 413, "body_too_large"),
            ("10 MB", path, MEGABYTES_10, JSON, 413, "body_too_large"),
        ]
    found += [
        ("100,000 deep", BATCH, nested(100_000), JSON, 400, "invalid_body"),
        *[("1,000,000 keys", BATCH, MILLION_KEYS, JSON, 400, "batch_size_invalid")] * 5,
        *[("10 MB", BATCH, MEGABYTES_10, JSON, 400, "field_required")] * 5,
        ("a zip bomb", BATCH, gzip.compress(b" " * 2**24), {**JSON, "content-encoding": "gzip"}, 415, UNSUPPORTED),
    ]
    found += [(str(v[:12]), EVENTS, with_value(event(), "quantity", v), JSON, 400, code) for v, code in DECIMALS]
    found += [(str(v[:12]), PLANS, with_value(PLAN, "amount", v), JSON, 400, code) for v, code in DECIMALS]
    found += [
        ("a zero byte", EVENTS, encoded(event(userId="a\x00b")), JSON, 400, "field_invalid"),
        ("a zero byte", PLANS, encoded({**PLAN, "unitPrices": {"a\x00b": 1}}), JSON, 400, "field_invalid"),
        ("a fraction of a second", PLANS, encoded({**PLAN, "billingInterval": 1e300}), JSON, 400, "field_invalid"),
    ]
    return found


class Process:
    """What the kernel knows of a process."""

    def __init__(self, pid: int) -> None:
        self._directory = Path(f"/proc/{pid}")

    def cpu_seconds(self) -> float:
        fields = (self._directory / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100  # utime and stime, in the kernel's fixed unit

    def resident_bytes(self) -> int:
        return int((self._directory / "statm").read_text().split()[1]) * 4096


@asynccontextmanager
async def served_beside(client: httpx.AsyncClient, headers: dict[str, str]) -> AsyncIterator[list[float]]:
    """While the block lasts, somebody does what is right, one request after the other; how long each took, in s."""
    seconds: list[float] = []

    async def serve() -> None:
        while True:
            began = time.monotonic()
            answer = await client.get("/api/v1/services", headers=headers)
            assert answer.status_code == 200
            seconds.append(time.monotonic() - began)

    serving = asyncio.create_task(serve())
    try:
        yield seconds
    finally:
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving


async def test_each_gets_its_4xx_and_harms_nobody(kafka_bootstrap: str, database_url: str, topic_prefix: str) -> None:
    await migrate(database_url)
    async with gateway(kafka_bootstrap, topic_prefix, database_url) as (process, url, key):
        measured = Process(process.pid)
        headers = {"authorization": f"Bearer {key}"}
        wrong: list[str] = []
        async with httpx.AsyncClient(base_url=url, timeout=30) as client, served_beside(client, headers) as beside:
            resident = measured.resident_bytes()
            for name, path, body, extra, status, code in rows():
                cpu = measured.cpu_seconds()
                answer = await client.post(f"/api/v1{path}", content=body, headers={**headers, **extra})
                document = answer.json()
                if (answer.status_code, document["code"]) != (status, code) or not document["error"]:
                    wrong.append(f"{name} to {path}: {answer.status_code} {answer.text[:200]}")
                if measured.cpu_seconds() - cpu > CPU_SECONDS_MAX:
                    wrong.append(f"{name} to {path}: {measured.cpu_seconds() - cpu:.2f} s of CPU")
            assert len(beside) > len(rows()) / 4
        assert wrong == []
        assert measured.resident_bytes() - resident < GROWTH_BYTES_MAX
