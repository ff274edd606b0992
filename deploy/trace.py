"""The standard replay of a trace of LLM requests: three usage events a request, one hour stretched over three months.

A trace is a CSV file with the columns TIMESTAMP (UTC, up to 100 ns), ContextTokens and GeneratedTokens.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from schemas.errors import OperatorError
from schemas.timestamps import parse_timestamp, timestamp_text

SUBSCRIPTIONS = 100
USERS = 40
STRETCH = 2_160
START = "2026-01-01T00:00:00.000Z"
_TICKS_A_SECOND = 10**7
_TICKS_A_MILLISECOND = 10**4

SERVICE = {"id": "svc_chat", "name": "Chat"}
PLAN = {
    "id": "plan_tokens",
    "serviceId": "svc_chat",
    "name": "Tokens",
    "pricingType": "USAGE_BASED",
    "billingInterval": "MONTH",
    "unitPrices": {"token_consumed": "0.000003", "token_generated": "0.000015", "api_request": "0.001"},
}


@dataclass(frozen=True)
class Request:
    """A request of the trace: its number, when it occurred in the replay (ms), and its tokens as text."""

    number: int
    occurred_at: int
    context_tokens: str
    generated_tokens: str

    def events(self) -> Iterator[dict[str, Any]]:
        """The three usage events of the request."""
        slot = self.number % SUBSCRIPTIONS
        for meter, quantity in (
            ("api_request", "1"),
            ("token_consumed", self.context_tokens),
            ("token_generated", self.generated_tokens),
        ):
            yield {
                "serviceId": SERVICE["id"],
                "subscriptionId": f"sub_{slot:03d}",
                "userId": f"user_{slot % USERS:02d}",
                "eventKey": f"{meter}#{self.number}",
                "quantity": quantity,
                "occurredAt": timestamp_text(self.occurred_at),
            }


def subscriptions() -> list[dict[str, Any]]:
    """The subscriptions of the replay, as they are created over HTTP."""
    return [
        {
            "id": f"sub_{slot:03d}",
            "serviceId": SERVICE["id"],
            "paymentPlanId": PLAN["id"],
            "userId": f"user_{slot % USERS:02d}",
            "billingAnchor": START,
        }
        for slot in range(SUBSCRIPTIONS)
    ]


def read_trace(path: Path) -> list[Request]:
    """The requests of a trace. Raises OperatorError where it can't be read."""
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        first = _ticks(rows[0]["TIMESTAMP"])
        start = parse_timestamp(START)
        return [
            Request(
                number,
                start + (_ticks(row["TIMESTAMP"]) - first) * STRETCH // _TICKS_A_MILLISECOND,
                row["ContextTokens"],
                row["GeneratedTokens"],
            )
            for number, row in enumerate(rows)
        ]
    except (KeyError, IndexError) as error:
        columns = "TIMESTAMP, ContextTokens and GeneratedTokens"
        raise OperatorError(f"{path} can't be read as a trace: it must be CSV with the columns {columns}.") from error
    except (OSError, ValueError) as error:
        raise OperatorError(f"{path} can't be read as a trace ({error}); see 'tally replay --help'.") from error


def _ticks(timestamp: str) -> int:
    """100 ns units since 1970 of '2023-11-16 18:15:46.6805900'."""
    seconds, _, fraction = timestamp.partition(".")
    whole = datetime.fromisoformat(seconds) - datetime(1970, 1, 1)  # noqa: DTZ001 - both are UTC
    return (whole.days * 86_400 + whole.seconds) * _TICKS_A_SECOND + int(fraction.ljust(7, "0")[:7])
