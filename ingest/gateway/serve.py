"""The gateway's process: it serves until it is told to stop, and answers what is open before it goes."""

import asyncio
import contextlib
import gc
import logging
import resource
import signal
import socket
from collections.abc import Callable, Generator
from typing import Final

import uvicorn

from ingest.gateway.protocol import bounded_protocol
from ingest.gateway.wiring import Gateway, ProducerOf, gateway, usage_producer
from ingest.metrics import CONNECTIONS
from ingest.settings import GatewaySettings
from schemas.errors import OperatorError

logger = logging.getLogger(__name__)

_KEEP_ALIVE_SECONDS: Final = 75
"""Longer than the 60 s of common load balancers, so that it is they who close idle connections."""

_BACKLOG: Final = 2048

_OTHER_FILES: Final = 256
"""Connections to Kafka and Postgres, logs, libraries."""


async def run(settings: GatewaySettings, producer_of: ProducerOf = usage_producer) -> None:
    """Serve until SIGTERM or SIGINT. Raises OperatorError."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(settings, stop, _started, producer_of)


async def serve(
    settings: GatewaySettings,
    stop: asyncio.Event,
    started: Callable[[str], None],
    producer_of: ProducerOf = usage_producer,
) -> None:
    """Serve until `stop` is set, then finish the open requests; `started` is told the URL. Raises OperatorError."""
    _allow_files(settings.connections + _OTHER_FILES)
    listener = _bind(settings.http_host, settings.http_port)
    with contextlib.closing(listener):
        async with gateway(settings, producer_of) as parts:
            host, port = listener.getsockname()[:2]
            started(f"http://{f'[{host}]' if ':' in host else host}:{port}")
            await _serve(parts, _Server(_config(parts, settings)), listener, stop)


async def _serve(parts: Gateway, server: uvicorn.Server, listener: socket.socket, stop: asyncio.Event) -> None:
    CONNECTIONS.set_function(lambda: len(server.server_state.connections))
    serving = asyncio.create_task(server.serve([listener]))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({serving, stopping, *parts.beside}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        parts.drain()
        server.should_exit = True
        await serving
    for task in parts.beside:
        if task.done():
            task.result()  # raises what ended it


def _config(parts: Gateway, settings: GatewaySettings) -> uvicorn.Config:
    return uvicorn.Config(
        parts.app,
        http=bounded_protocol(settings.connections, settings.body_seconds),
        interface="asgi3",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=settings.drain_seconds,
    )


def _allow_files(count: int) -> None:
    """Raise the process's limit of open files to this, as far as that is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < count:
        logger.warning("only %d files may be open, which is too few for TALLY_CONNECTIONS; raise 'ulimit -Hn'", allowed)


class _Server(uvicorn.Server):
    """uvicorn without its handling of signals: it would raise them again once it has stopped."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def _bind(host: str, port: int) -> socket.socket:
    """A listening socket, before anything else is begun: who connects now is answered as soon as all is ready."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise OperatorError(f"The address {host} can't be used ({error.strerror}); set --http-host.") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise OperatorError(
            f"Port {port} of {host} can't be used ({error.strerror}); stop what uses it, or set --http-port."
        ) from error
    return listener


def _started(url: str) -> None:
    # What is alive now stays alive: not looking at it again halves the time of the slowest requests.
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
    logger.info("the gateway listens on %s", url)
