"""A crossing of a threshold by the usage of a meter, as it stands on `usage-alerts`.

Keys are `[rule, serviceId, meter]`, of which the topic keeps the last alert.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from schemas.decimals import decimal_text, scaled_of_own
from schemas.timestamps import timestamp_of_own, timestamp_text


class AlertStatus(StrEnum):
    """A rule fires when its threshold is crossed, and is resolved when the usage has come back."""

    FIRING = "FIRING"
    RESOLVED = "RESOLVED"


class Measure(StrEnum):
    """What of the usage is compared."""

    EVENTS = "events"
    QUANTITY = "quantity"


@dataclass(slots=True, frozen=True)
class Alert:
    """`value` is what the window that ended at `at` (ms) came to; it and the threshold are in millionths."""

    rule: str
    service_id: str
    meter: str
    status: AlertStatus
    measure: Measure
    value: int
    threshold: int
    window_seconds: int
    at: int

    @property
    def subject(self) -> tuple[str, str, str]:
        """Which rule speaks of which service and meter."""
        return self.rule, self.service_id, self.meter

    @property
    def key(self) -> bytes:
        """The key on `usage-alerts`."""
        return json.dumps(self.subject, ensure_ascii=False, separators=(",", ":")).encode()

    def wire(self) -> dict[str, Any]:
        """The alert as it goes out."""
        return {
            "rule": self.rule,
            "serviceId": self.service_id,
            "meter": self.meter,
            "status": self.status.value,
            "measure": self.measure.value,
            "value": decimal_text(self.value),
            "threshold": decimal_text(self.threshold),
            "windowSeconds": self.window_seconds,
            "at": timestamp_text(self.at),
        }

    def to_json(self) -> bytes:
        """The value on `usage-alerts`."""
        return json.dumps(self.wire(), ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def of_json(cls, value: bytes | None) -> "Alert":
        """The inverse. Raises ValueError, LookupError or TypeError for what this program did not write."""
        document = json.loads(value or b"")
        return cls(
            rule=document["rule"],
            service_id=document["serviceId"],
            meter=document["meter"],
            status=AlertStatus(document["status"]),
            measure=Measure(document["measure"]),
            value=scaled_of_own(document["value"]),
            threshold=scaled_of_own(document["threshold"]),
            window_seconds=document["windowSeconds"],
            at=timestamp_of_own(document["at"]),
        )
