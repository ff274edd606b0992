"""Where a process's metrics are read: GET /metrics. What is measured stands in the metrics module of each package."""

import logging

from prometheus_client import start_http_server

from schemas.errors import OperatorError

log = logging.getLogger(__name__)


def serve(host: str, port: int) -> int:
    """Serve /metrics from a thread of its own and return the port, which the system chooses where it is 0."""
    try:
        server, _ = start_http_server(port, host)
    except (OSError, OverflowError) as error:
        raise OperatorError(
            f"/metrics can't listen on {host}:{port} ({error}): set TALLY_METRICS_HOST and TALLY_METRICS_PORT "
            "to what is free."
        ) from error
    log.info("Metrics are at http://%s:%d/metrics.", host, server.server_port)
    return server.server_port
