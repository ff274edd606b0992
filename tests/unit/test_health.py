"""What a process answers to whoever watches it."""

import json
import logging
import socket
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from aggregator.health import serve
from schemas.errors import OperatorError


@pytest.fixture
def said() -> list[str]:
    """What is wrong with the process, for a test to change."""
    return []


@pytest.fixture
def base(said: list[str]) -> str:
    return f"http://127.0.0.1:{serve('127.0.0.1', 0, lambda: list(said))}"


def get(url: str) -> tuple[int, str]:
    try:
        with urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_a_process_with_nothing_wrong_is_live_and_ready_and_shows_its_metrics(base: str) -> None:
    assert get(f"{base}/health/live") == (200, '{"status": "live"}')
    assert get(f"{base}/health/ready") == (200, '{"status": "ready"}')
    status, metrics = get(f"{base}/metrics")
    assert status == 200
    assert "python_info" in metrics
    assert get(f"{base}/")[0] == 404


def test_what_is_wrong_is_said_in_sentences_and_the_process_stays_live(base: str, said: list[str]) -> None:
    said += ["Partition 3 stands still.", "Kafka does not answer."]
    status, body = get(f"{base}/health/ready")
    assert status == 503
    assert json.loads(body) == {
        "error": "Partition 3 stands still.",
        "code": "unavailable",
        "details": [
            {"field": None, "code": "unavailable", "message": "Partition 3 stands still."},
            {"field": None, "code": "unavailable", "message": "Kafka does not answer."},
        ],
    }
    assert get(f"{base}/health/live")[0] == 200
    said.clear()
    assert get(f"{base}/health/ready")[0] == 200


def test_a_change_is_logged_once(base: str, said: list[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aggregator.health")
    for sentences, path in (
        ([], "/health/ready"),
        (["It stands still for 30 s."], "/metrics"),
        (["It stands still for 31 s."], "/health/ready"),
        ([], "/health/ready"),
        ([], "/metrics"),
    ):
        said[:] = sentences
        _, body = get(f"{base}{path}")
        assert path != "/metrics" or f"tally_ready {float(not sentences)}" in body
    assert [record.message for record in caplog.records if "ready" in record.message] == [
        "not ready: It stands still for 30 s.",
        "ready again",
    ]


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OperatorError, match=rf"127\.0\.0\.1:{port} .*TALLY_METRICS_PORT"):
            serve("127.0.0.1", port, list)
