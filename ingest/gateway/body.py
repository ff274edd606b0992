"""A request's body, bounded in size and in time before anything looks at it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, MutableMapping
from functools import partial
from typing import Any, cast

from schemas.rejection import Reason, Rejection

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


JSON = b"application/json"
NDJSON = b"application/x-ndjson"


def media_type(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """What a request says its body is, without parameters."""
    for name, value in headers:
        if name == b"content-type":
            return value.partition(b";")[0].strip().lower()
    return b""


async def read_body(
    headers: Iterable[tuple[bytes, bytes]],
    receive: Receive,
    bytes_max: int,
    seconds: float,
    types: tuple[bytes, ...] = (JSON,),
) -> bytes | Rejection:
    """The body of a request that says it is of one of these types, or why it is refused."""
    length, is_taken = 0, False
    for name, value in headers:
        if name == b"content-type":
            is_taken = value.partition(b";")[0].strip().lower() in types
        elif name == b"content-length":
            length = int(value)
        elif name == b"content-encoding" and value.strip().lower() != b"identity":
            return Rejection.of(Reason.UNSUPPORTED_MEDIA_TYPE)
    if not is_taken:
        return Rejection.of(Reason.UNSUPPORTED_MEDIA_TYPE)
    return await arrived(length, receive, bytes_max, seconds)


async def arrived(length: int, receive: Receive, bytes_max: int, seconds: float) -> bytes | Rejection:
    """A body of any type, whose length was said to be this, or why it is refused."""
    if length > bytes_max:
        return Rejection.of(Reason.BODY_TOO_LARGE)
    collecting = _collect(receive, bytes_max)
    try:
        awaited = collecting.send(None)
    except StopIteration as arrived_already:  # nearly always, and a timeout costs more than all of this
        return cast(bytes | Rejection, arrived_already.value)
    try:
        async with asyncio.timeout(seconds):
            return await _Begun(collecting, awaited)
    except TimeoutError:
        return Rejection(Reason.INVALID_BODY, f"The body did not arrive whole within {seconds:g} seconds.")


class _Begun:
    """A coroutine that has begun to run and awaits something; awaiting it goes on from there."""

    def __init__(self, coroutine: Coroutine[Any, Any, bytes | Rejection], awaited: Any) -> None:
        self._coroutine = coroutine
        self._awaited = awaited

    def __await__(self) -> Generator[Any, Any, bytes | Rejection]:
        awaited = self._awaited
        while True:
            try:
                sent = yield awaited
            except BaseException as error:  # noqa: BLE001 - a cancellation is the coroutine's to meet
                step = partial(self._coroutine.throw, error)
            else:
                step = partial(self._coroutine.send, sent)
            try:
                awaited = step()
            except StopIteration as ended:
                return cast(bytes | Rejection, ended.value)


async def _collect(receive: Receive, bytes_max: int) -> bytes | Rejection:
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body", False):
        chunks, size = [body], len(body)
        while size <= bytes_max and message.get("more_body", False):
            message = await receive()
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
        body = b"".join(chunks)
    if len(body) > bytes_max:
        return Rejection.of(Reason.BODY_TOO_LARGE)
    if message["type"] == "http.disconnect":
        return Rejection(Reason.INVALID_BODY, "The body did not arrive whole.")
    return body
