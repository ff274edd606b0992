"""Somebody who is sent webhooks: a real HTTP server, which answers as it is told to."""

import base64
import hashlib
import hmac
import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()


@dataclass(frozen=True)
class Received:
    """A request, as it came."""

    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    def is_signed(self, key: bytes = KEY) -> bool:
        """By the convention of Standard Webhooks, written once more."""
        content = self.id.encode() + b"." + self.headers["webhook-timestamp"].encode() + b"." + self.body
        expected = b"v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest())
        return expected.decode() in self.headers["webhook-signature"].split(" ")


class Receiver:
    """Takes what comes, with the statuses of `answers` first, and redirects to itself; while it is `held`, it answers
    nothing; when it `is_endless`, its answers have no end."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answers: deque[int] = deque()
        self.url = ""
        self.is_endless = False
        self._may_answer = threading.Event()
        self._may_answer.set()

    def hold(self) -> None:
        self._may_answer.clear()

    def release(self) -> None:
        self._may_answer.set()

    def of(self, kind: str) -> list[Received]:
        """What has come of a type."""
        return [received for received in self.received if received.document["type"] == kind]

    def answer(self, received: Received) -> int:
        self.received.append(received)
        self._may_answer.wait(30)
        return self.answers.popleft() if self.answers else 204


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a port of its own."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status = receiver.answer(Received({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", receiver.url)
            if not receiver.is_endless:
                self.send_header("Content-Length", "0")
            self.end_headers()
            while receiver.is_endless:  # until the sender hangs up
                self.wfile.write(bytes(65_536))

        def handle(self) -> None:
            try:
                super().handle()
            except ConnectionError:  # the sender was killed
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.url = f"http://127.0.0.1:{server.server_port}/hooks"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.release()
        server.shutdown()
        thread.join()
        server.server_close()
