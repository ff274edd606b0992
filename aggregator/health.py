"""What a process says of itself over HTTP: GET /health/live, /health/ready and /metrics.

They are served by threads of their own, so that a process whose event loop hangs still says so.
"""

import json
import logging
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from socketserver import ThreadingMixIn
from threading import Thread
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import Gauge, make_wsgi_app

from schemas.errors import OperatorError

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

READY = Gauge("tally_ready", "1 while /health/ready says so.")

Unready = Callable[[], Sequence[str]]
"""What is wrong with the process, a sentence each; nothing: it is ready. Called from other threads than the loop's."""

Pages = Mapping[str, Callable[[], dict[str, Any]]]
"""What else the process shows, JSON by path. Called from other threads than the loop's."""


def serve(host: str, port: int, unready: Unready, pages: Pages | None = None) -> int:
    """Serve until the process ends; returns the port, which the system chooses where it is 0."""
    look = _logged(unready)
    READY.set_function(lambda: not look())
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        kind = _ServerV6 if family is socket.AF_INET6 else _Server
        server = make_server(host, port, health_app(look, pages or {}), server_class=kind, handler_class=_SilentHandler)
    except (OSError, OverflowError) as error:
        raise OperatorError(
            f"/metrics can't listen on {host}:{port} ({error}): set TALLY_METRICS_HOST and TALLY_METRICS_PORT "
            "to what is free."
        ) from error
    Thread(target=server.serve_forever, name="health", daemon=True).start()
    log.info("Metrics are at http://%s:%d/metrics.", host, server.server_port)
    return server.server_port


def health_app(unready: Unready, pages: Pages) -> "WSGIApplication":
    """The three routes and the pages; any other path is a 404."""
    metrics: Any = make_wsgi_app()

    def answer(environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            answered: Iterable[bytes] = metrics(environ, start)
            return answered
        if path == "/health/live":
            return _json(start, "200 OK", {"status": "live"})
        if path in pages:
            return _json(start, "200 OK", pages[path]())
        if path != "/health/ready":
            return _json(start, "404 Not Found", {"error": "There is nothing at this path.", "code": "not_found"})
        if not (said := unready()):
            return _json(start, "200 OK", {"status": "ready"})
        details = [{"field": None, "code": "unavailable", "message": sentence} for sentence in said]
        return _json(start, "503 Service Unavailable", {"error": said[0], "code": "unavailable", "details": details})

    return answer


def _logged(unready: Unready) -> Unready:
    """The same, but a change is in the log, whoever asks."""
    is_ready = True

    def look() -> Sequence[str]:
        nonlocal is_ready
        said = unready()
        before, is_ready = is_ready, not said
        if is_ready is not before:
            log.info("ready again") if is_ready else log.warning("not ready: %s", " ".join(said))
        return said

    return look


def _json(start: "StartResponse", status: str, document: dict[str, Any]) -> list[bytes]:
    body = json.dumps(document).encode()
    start(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


class _Server(ThreadingMixIn, WSGIServer):
    """A probe that is slow to read holds up no other, and not the end of the process."""

    daemon_threads = True


class _ServerV6(_Server):
    address_family = socket.AF_INET6


class _SilentHandler(WSGIRequestHandler):
    """A probe every few seconds is not worth a line each."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that it overrides
        """See BaseHTTPRequestHandler."""
