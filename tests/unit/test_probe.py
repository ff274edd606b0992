"""`python -m deploy.probe`, beside parts that are ready, not ready, silent or absent."""

import socket
from collections.abc import Callable, Iterator

import pytest

from aggregator.health import serve
from deploy import probe
from deploy.local.ports import free_port

Probed = Callable[[int, int], tuple[int, str]]

READY: tuple[str, ...] = ()
WRONG = ("Partition 3 stands still.", "Kafka does not answer.")


def served(*wrong: str) -> int:
    return serve("127.0.0.1", 0, lambda: wrong)


@pytest.fixture
def silent() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Probed:
    """Asks the ports of a gateway and of another part: the exit code, and what was said."""

    def ask(http: int, metrics: int) -> tuple[int, str]:
        monkeypatch.setenv("TALLY_HTTP_PORT", str(http))
        monkeypatch.setenv("TALLY_METRICS_PORT", str(metrics))
        return probe.main(timeout_seconds=0.2), capsys.readouterr().err

    return ask


def test_a_gateway_is_asked_first_and_what_is_wrong_with_it_is_said(probed: Probed) -> None:
    assert probed(served(*READY), served(*WRONG)) == (0, "")
    assert probed(served(*WRONG), served(*READY)) == (1, "Partition 3 stands still.\n")


def test_where_no_gateway_listens_another_part_is_asked(probed: Probed) -> None:
    assert probed(free_port(), served(*READY)) == (0, "")
    assert probed(free_port(), served(*WRONG)) == (1, "Partition 3 stands still.\n")


def test_what_is_absent_or_silent_is_not_ready(probed: Probed, silent: int) -> None:
    assert probed(free_port(), free_port()) == (1, "Nothing listens yet.\n")
    assert probed(free_port(), silent) == (1, "The part does not answer (TimeoutError).\n")
