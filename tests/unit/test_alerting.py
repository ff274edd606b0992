"""Thresholds: when an alert begins and ends, and what a file of them may say."""

from pathlib import Path

import pytest

from aggregator.insights.alert_file import read_alert_rules
from aggregator.rules.alerting import AlertRule, Subject, changes
from aggregator.rules.rates import Pair, Usage
from schemas.alert import Alert, AlertStatus, Measure
from schemas.errors import OperatorError

ONE = 1_000_000
AT = 1_767_225_600_000

ABOVE = AlertRule("busy", Measure.QUANTITY, 100 * ONE, 90 * ONE, 60, service_id="svc", meter="m")
BELOW = AlertRule("quiet", Measure.EVENTS, 10 * ONE, 12 * ONE, 60, is_below=True, service_id="svc", meter="m")
ANY = AlertRule("any", Measure.EVENTS, 10 * ONE, 10 * ONE, 300)


@pytest.mark.parametrize(
    ("rule", "value", "was_firing", "fires"),
    [
        (ABOVE, 90 * ONE, False, False),
        (ABOVE, 100 * ONE, False, False),  # at the threshold is not above it
        (ABOVE, 100 * ONE + 1, False, True),
        (ABOVE, 100 * ONE, True, True),  # between the two: as before
        (ABOVE, 90 * ONE + 1, True, True),
        (ABOVE, 90 * ONE, True, False),
        (ABOVE, 0, True, False),
        (BELOW, 12 * ONE, False, False),
        (BELOW, 10 * ONE, False, False),
        (BELOW, 9 * ONE, False, True),
        (BELOW, 10 * ONE, True, True),
        (BELOW, 11 * ONE, True, True),
        (BELOW, 12 * ONE, True, False),
    ],
)
def test_rule_fires_by_value_and_by_what_it_did_before(
    rule: AlertRule, value: int, was_firing: bool, fires: bool
) -> None:
    assert rule.fires(value, was_firing) is fires


def told(
    rules: list[AlertRule], firing: dict[Subject, Alert], usage: dict[Pair, Usage], at: int = AT
) -> list[tuple[str, str, str, str, int]]:
    """The alerts that begin and end; `firing` follows them, as the process keeps it."""
    alerts = list(changes(rules, firing, {60: usage, 300: usage}, at))
    for alert in alerts:
        if alert.status is AlertStatus.FIRING:
            firing[alert.subject] = alert
        else:
            del firing[alert.subject]
    return sorted((a.rule, a.service_id, a.meter, a.status.value, a.value) for a in alerts)


def test_an_alert_begins_once_a_crossing_and_ends_once() -> None:
    """A row a window: its quantity, and what is told of it."""
    firing: dict[Subject, Alert] = {}
    begun, ended = ("busy", "svc", "m", "FIRING"), ("busy", "svc", "m", "RESOLVED")
    for quantity, expected in [
        (50, []),
        (101, [(*begun, 101 * ONE)]),
        (500, []),
        (95, []),  # it swings about the threshold, above what clears it
        (101, []),
        (90, [(*ended, 90 * ONE)]),
        (95, []),
        (101, [(*begun, 101 * ONE)]),
        (0, [(*ended, 0)]),
    ]:
        usage = {("svc", "m"): Usage(1, quantity * ONE)} if quantity else {}
        assert told([ABOVE], firing, usage) == expected


def test_silence_is_below_a_threshold() -> None:
    assert told([BELOW], {}, {}) == [("quiet", "svc", "m", "FIRING", 0)]


def test_a_rule_without_a_meter_judges_each_by_itself() -> None:
    firing: dict[Subject, Alert] = {}
    usage = {("a", "x"): Usage(11, 0), ("a", "y"): Usage(10, 0), ("b", "x"): Usage(12, 0)}
    assert told([ANY], firing, usage) == [
        ("any", "a", "x", "FIRING", 11 * ONE),
        ("any", "b", "x", "FIRING", 12 * ONE),
    ]
    assert told([ANY], firing, {("b", "x"): Usage(12, 0)}) == [("any", "a", "x", "RESOLVED", 0)]


@pytest.mark.parametrize(
    "rules",
    [
        [],  # the rule is gone
        [AlertRule("busy", Measure.QUANTITY, 100 * ONE, 90 * ONE, 60, service_id="svc", meter="another")],
    ],
)
def test_an_alert_whose_rule_is_not_for_it_any_more_ends(rules: list[AlertRule]) -> None:
    firing: dict[Subject, Alert] = {}
    usage = {("svc", "m"): Usage(1, 200 * ONE)}
    told([ABOVE], firing, usage)
    assert told(rules, firing, usage) == [("busy", "svc", "m", "RESOLVED", 0)]


def test_an_alert_is_read_as_it_was_written() -> None:
    (alert,) = changes([BELOW], {}, {60: {}}, AT)
    assert Alert.of_json(alert.to_json()) == alert
    assert alert.key == b'["quiet","svc","m"]'


def write(tmp_path: Path, text: str) -> str:
    file = tmp_path / "alerts.toml"
    file.write_text(text)
    return str(file)


def test_a_file_of_alerts_becomes_rules(tmp_path: Path) -> None:
    text = """
    [[alert]]
    name = "much"
    measure = "quantity"
    above = 100.1
    [[alert]]
    name = "silence"
    serviceId = "svc"
    meter = "m"
    measure = "events"
    below = 10
    clear = 20
    windowSeconds = 300
    """
    assert read_alert_rules(write(tmp_path, text)) == [
        AlertRule("much", Measure.QUANTITY, 100_100_000, 90_090_000, 60),  # cleared a tenth below
        AlertRule("silence", Measure.EVENTS, 10 * ONE, 20 * ONE, 300, is_below=True, service_id="svc", meter="m"),
    ]


def test_without_a_file_there_are_no_alerts() -> None:
    assert read_alert_rules("") == []


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('above = "x"', r"alert 0 above: must be a decimal number"),
        ("above = 1\nbelow = 1", "write either above or below"),
        ("", "write either above or below"),
        ("below = 1", "below needs serviceId and meter"),
        ("above = 1\nclear = 2", "clear must be at or below what is above"),
        ("above = 1\nwindowSeconds = 7", "multiple of 5"),
        ("above = 1\nwindowSeconds = 905", "less than or equal to 900"),
        ("above = 1\ntreshold = 1", "treshold"),
        ("above = 1\n[[alert]]\nname = 'a'\nmeasure = 'events'\nabove = 2", "two alerts are called a"),
        ("above = = 1", "can't be read"),
    ],
)
def test_a_file_that_is_wrong_says_where_and_how(tmp_path: Path, lines: str, said: str) -> None:
    with pytest.raises(OperatorError, match=said):
        read_alert_rules(write(tmp_path, f"[[alert]]\nname = 'a'\nmeasure = 'events'\n{lines}\n"))


def test_a_file_that_is_missing_is_one_sentence() -> None:
    with pytest.raises(OperatorError, match=r"The alerts in absent\.toml can't be read .* TALLY_ALERTS\.$"):
        read_alert_rules("absent.toml")
