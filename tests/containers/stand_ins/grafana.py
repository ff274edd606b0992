"""What stands in for Grafana: healthy while it finds what Grafana is to find, and can write where Grafana writes."""

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PROVISIONING = Path("/etc/grafana/provisioning")
DATA = Path("/var/lib/grafana")


def missing() -> list[str]:
    """What is not there or not readable."""
    wanted = [next(PROVISIONING.glob(f"{kind}/*.yaml"), PROVISIONING / kind) for kind in ("datasources", "dashboards")]
    found = [str(path) for path in wanted if not (path.is_file() and os.access(path, os.R_OK))]
    return found + [str(path) for path in (DATA,) if not os.access(path, os.W_OK)]


class Health(BaseHTTPRequestHandler):
    """`/api/health`."""

    def do_GET(self) -> None:
        """Answer 200, or 503 with what is missing."""
        lacks = missing()
        self.send_response(503 if lacks else 200)
        self.end_headers()
        self.wfile.write(" ".join(lacks).encode() or b'{"database": "ok"}')


signal.signal(signal.SIGTERM, lambda *_: sys.exit())
ThreadingHTTPServer(("0.0.0.0", 3000), Health).serve_forever()
