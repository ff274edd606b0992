"""`python -m deploy.probe`: whether the part that runs in this container is ready, for the engine's health check.

Exits with 0 if so, else with 1 and what is wrong. It asks the gateway's port, and where no gateway listens, the port of
the other parts' /health. Only the standard library is imported: it runs every few seconds.
"""

import json
import os
import sys
from http.client import HTTPConnection

TIMEOUT_SECONDS = 4
HTTP_PORT, METRICS_PORT = 8080, 9464
"""As the image sets them, unless their variables say otherwise."""


def main(timeout_seconds: float = TIMEOUT_SECONDS) -> int:
    """Ask, and say what is wrong."""
    wrong = "Nothing listens yet."
    for variable, port in (("TALLY_HTTP_PORT", HTTP_PORT), ("TALLY_METRICS_PORT", METRICS_PORT)):
        try:
            said = unready(int(os.environ.get(variable) or port), timeout_seconds)
        except ConnectionRefusedError:
            continue
        except OSError as error:
            said = f"The part does not answer ({type(error).__name__})."
        if said is None:
            return 0
        wrong = said
        break
    print(wrong, file=sys.stderr)
    return 1


def unready(port: int, timeout_seconds: float) -> str | None:
    """What /health/ready on this machine's port says is wrong; None: nothing. Raises OSError."""
    connection = HTTPConnection("127.0.0.1", port, timeout=timeout_seconds)
    try:
        connection.request("GET", "/health/ready")
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    return None if answer.status == 200 else str(json.loads(body)["error"])


if __name__ == "__main__":
    sys.exit(main())
