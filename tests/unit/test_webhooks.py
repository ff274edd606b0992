"""Webhooks: signatures, secrets, and when they are tried again."""

import base64
import re
from pathlib import Path
from typing import Any

import pytest

from aggregator.insights.signing import signed_headers
from aggregator.rules.retrying import ATTEMPTS_MAX, JITTER_RANGE, delay_ms
from aggregator.settings import InsightsSettings
from deploy.flags import SettingInvalid, checked_settings

CONTRACT = Path(__file__).parents[2] / "docs" / "contract.md"
KEY = bytes(range(24))
SECRET = "whsec_" + base64.b64encode(KEY).decode()


def test_signature_is_that_of_the_convention() -> None:
    # openssl dgst -sha256 -mac hmac -macopt hexkey:000102...17 -binary | base64, of 'msg_1.1767225600.{"a":1}'
    headers = signed_headers([KEY], "msg_1", 1_767_225_600_999, b'{"a":1}')
    assert headers == {
        "webhook-id": "msg_1",
        "webhook-timestamp": "1767225600",
        "webhook-signature": "v1,UyM9ZTx8DjOmZabWuQychiy3SOQTcmi8iwwb4V2hSuQ=",
    }


def documented_verify() -> Any:
    """The receiver's check, as the contract shows it."""
    (snippet,) = re.findall(r"```python\n(.*?def verified.*?)```", CONTRACT.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(snippet, names)
    return names["verified"]


@pytest.mark.parametrize(
    ("change", "is_taken"),
    [
        ({}, True),
        ({"now": 1_767_225_600 + 300}, True),
        ({"now": 1_767_225_600 + 301}, False),
        ({"now": 1_767_225_600 - 301}, False),
        ({"body": b'{"a":2}'}, False),
        ({"secret": "whsec_" + base64.b64encode(bytes(24)).decode()}, False),
    ],
)
def test_the_documented_check_takes_what_tally_signed_and_nothing_else(change: dict[str, Any], is_taken: bool) -> None:
    headers = signed_headers([bytes(range(1, 25)), KEY], "id", 1_767_225_600_000, b'{"a":1}')  # while keys are changed
    arguments = {"secret": SECRET, "headers": headers, "body": b'{"a":1}', "now": 1_767_225_600, **change}
    assert documented_verify()(**arguments) is is_taken


@pytest.mark.parametrize(
    ("attempts", "seconds"),
    [(1, 5), (2, 10), (3, 20), (11, 5_120), (12, 7_200), (21, 7_200), (ATTEMPTS_MAX, None), (99, None)],
)
def test_waits_double_up_to_two_hours_and_end(attempts: int, seconds: int | None) -> None:
    middle = delay_ms(attempts, JITTER_RANGE // 2)
    assert middle == (None if seconds is None else seconds * 1_000)


def test_waits_are_spread_by_a_quarter_to_either_side() -> None:
    waits = [delay_ms(1, jitter) for jitter in range(JITTER_RANGE)]
    assert (waits[0], waits[-1]) == (3_750, 6_247)
    assert len(set(waits)) == JITTER_RANGE


def test_a_webhook_is_given_up_after_about_a_day() -> None:
    total = sum(delay_ms(attempts, JITTER_RANGE // 2) or 0 for attempts in range(1, ATTEMPTS_MAX + 1))
    assert 20 * 3_600_000 < total < 26 * 3_600_000


@pytest.mark.parametrize(
    "given",
    [
        {"webhook_url": "https://example.org/x"},  # nothing to sign with
        {"webhook_url": "ftp://example.org/x", "webhook_secret": SECRET},
        {"webhook_url": "https:///x", "webhook_secret": SECRET},
        {"webhook_url": "https://example.org:99999/x", "webhook_secret": SECRET},
        {"webhook_url": "https://user:canary/2@example.org/x", "webhook_secret": SECRET},  # a port of letters
        {"webhook_url": "https://[::1/x", "webhook_secret": SECRET},
        {"webhook_url": "https://example.org/x\n", "webhook_secret": SECRET},
        {"webhook_url": "https://exam ple.org/x", "webhook_secret": SECRET},
        {"webhook_url": "https://example.org/x", "webhook_secret": "  "},
        {"webhook_secret": "short-canary"},
        {"webhook_secret": "whsec_" + base64.b64encode(b"canary").decode()},
        {"webhook_secret": "whsec_canary!"},
        {"webhook_secret": f"{SECRET} whsec_canary"},
    ],
)
def test_webhook_settings_that_can_not_be_used_are_refused_without_the_secret(given: dict[str, str]) -> None:
    with pytest.raises(SettingInvalid) as refused:
        checked_settings(InsightsSettings, **given)
    assert "canary" not in str(refused.value)
    assert SECRET not in str(refused.value)


def test_several_secrets_sign_while_they_are_changed_and_none_is_shown() -> None:
    settings = InsightsSettings(webhook_url="https://example.org", webhook_secret=f"{SECRET} {SECRET}")
    assert settings.webhook_keys == [KEY, KEY]
    assert SECRET not in repr(settings)
