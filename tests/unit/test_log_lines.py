"""What a line of the log looks like, which lines there are, and what none of them holds."""

import gc
import io
import json
import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.error import URLError

import pytest
from prometheus_client import REGISTRY

from deploy.log_lines import LEVELS, LogSettings, redacted, write_log

OWN, FOREIGN, KAFKA = "aggregator.engine.partition", "httpcore.http11", "aiokafka.consumer.fetcher"

KEY = f"tally_{'k3Y_-' * 8}abc"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True, scope="module")
def _nothing_left() -> None:
    """Clients that tests of other files have left say so when they are collected: before these, and not among them."""
    gc.collect()


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """The loggers as they were."""
    names = [None, *("schemas", "ingest", "aggregator", "deploy", "aiokafka")]
    levels = {name: logging.getLogger(name).level for name in names}
    handlers = logging.getLogger().handlers[:]
    yield
    logging.captureWarnings(False)
    logging.getLogger().handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def written(stream: io.StringIO, name: str = "aggregator", **settings: Any) -> io.StringIO:
    """What a part or command writes from now on."""
    write_log(LogSettings(**settings), name, name == "aggregator", stream)
    return stream


def counts() -> dict[str, float]:
    """Lines until now, by level."""
    values = {level: REGISTRY.get_sample_value("tally_log_records_total", {"level": level}) for level in LEVELS}
    return {level: value or 0 for level, value in values.items()}


def lines_and_counts(stream: io.StringIO) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """What was written, and counts(), of one moment: a client that a test before has left may write at any."""
    while True:
        text, found = stream.getvalue(), counts()
        if stream.getvalue() == text:
            return [json.loads(line) for line in text.splitlines()], found


def test_a_line_is_an_object_with_the_same_fields_first() -> None:
    stream = written(io.StringIO())
    logging.getLogger(OWN).info("partition %d opened", 3, extra={"partition": 3, "offset": 70})
    line = json.loads(stream.getvalue())
    assert list(line) == ["time", "level", "part", "logger", "message", "partition", "offset"]
    assert line["time"].endswith("Z")
    assert list(line.values())[1:] == ["info", "aggregator", OWN, "partition 3 opened", 3, 70]


def test_no_field_holds_a_secret_whatever_it_is_made_of() -> None:
    stream = written(io.StringIO())
    fields = {
        "offset": 70,
        "headers": [(b"authorization", b"Bearer abc.def")],
        "url": URLError("postgresql://t:hunter2@db/t"),
    }
    logging.getLogger(OWN).info("refused", extra={**fields, "table": None})
    line = json.loads(stream.getvalue())
    assert (line["offset"], line["table"]) == (70, None)
    assert line["headers"] == "[(b'authorization', b'Bearer ***')]"
    assert "hunter2" not in stream.getvalue()


def test_a_failure_is_one_line_with_its_traceback() -> None:
    stream = written(io.StringIO())
    try:
        int("postgresql://tally:hunter2@db/tally")
    except ValueError:
        logging.getLogger(OWN).exception("failed")
    (line,) = stream.getvalue().splitlines()
    assert "with base 10: 'postgresql://tally:***@db/tally'" in json.loads(line)["exception"]
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("stream", "name", "log_format", "is_json"),
    [
        (io.StringIO, "aggregator", "auto", True),
        (Terminal, "aggregator", "auto", False),
        (Terminal, "aggregator", "json", True),
        (io.StringIO, "aggregator", "text", False),
        (io.StringIO, "load", "auto", False),
        (io.StringIO, "load", "json", True),
    ],
)
def test_lines_are_json_where_no_person_reads_them(
    stream: type[io.StringIO], name: str, log_format: str, is_json: bool
) -> None:
    lines = written(stream(), name, log_format=log_format)
    logging.getLogger(OWN).warning("not ready", extra={"partition": 3})
    assert lines.getvalue().startswith("{") is is_json
    assert "not ready" in lines.getvalue()
    assert "partition" in lines.getvalue()


@pytest.mark.parametrize(
    ("log_level", "logger", "level", "shown"),
    [
        ("info", OWN, "debug", None),
        ("info", OWN, "info", "info"),
        ("debug", OWN, "debug", "debug"),
        ("error", OWN, "warning", None),
        ("debug", FOREIGN, "debug", None),
        ("debug", FOREIGN, "info", None),
        ("error", FOREIGN, "warning", "warning"),
        ("info", KAFKA, "warning", "warning"),
        # aiokafka tries again, or what it raises becomes a line of ours
        ("info", KAFKA, "error", "warning"),
        ("info", "faust.transport.drivers.aiokafka", "error", "warning"),
        ("info", "mode.services", "critical", "warning"),
        ("info", "asyncio", "error", "error"),
    ],
)
def test_levels(log_level: str, logger: str, level: str, shown: str | None) -> None:
    stream = written(io.StringIO(), log_level=log_level)
    earlier, before = lines_and_counts(stream)
    logging.getLogger(logger).log(logging.getLevelNamesMapping()[level.upper()], "said")
    all_lines, after = lines_and_counts(stream)
    lines = all_lines[len(earlier) :]
    others = Counter(line["level"] for line in lines if line["message"] != "said")
    assert [line["level"] for line in lines if line["message"] == "said"] == ([] if shown is None else [shown])
    counted = {name: count - before[name] - others[name] for name, count in after.items()}
    assert counted == {name: name == shown for name in before}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://tally:hunter2@db:5432/tally?a=b", "postgresql://tally:***@db:5432/tally?a=b"),
        ("postgresql://tally:p:w@x@db/tally and more", "postgresql://tally:***@db/tally and more"),
        ("http://127.0.0.1:9090/metrics", "http://127.0.0.1:9090/metrics"),
        ("no broker at kafka-1:9092,kafka-2:9092", "no broker at kafka-1:9092,kafka-2:9092"),
        (f"the key {KEY} is revoked", "the key tally_*** is revoked"),
        ("signed with whsec_AAEC+/w= and", "signed with whsec_*** and"),
        ("b'authorization', b'Bearer abc.def'", "b'authorization', b'Bearer ***'"),
        ("Authorization: Basic dXNlcjpwdw==", "Authorization: Basic ***"),
        ("{'password': 'hunter2'}", "{'password': ***"),
        ('password authentication failed for user "tally"', 'password authentication failed for user "tally"'),
        ("the topic tally_replies_of_the_first_deployment", "the topic tally_replies_of_the_first_deployment"),
    ],
)
def test_what_looks_like_a_secret_is_not_shown(text: str, shown: str) -> None:
    assert redacted(text) == shown
