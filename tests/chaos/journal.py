"""What the clients remember: every event that they sent, how often, and what they were told each time."""

import json
from collections import Counter, deque
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from tests.chaos.parts import now_ms

Event = dict[str, Any]

RECENT_MAX = 400


class Outcome(StrEnum):
    """OK: acknowledged, with a receipt. REFUSED: never published. JUDGED: published, and refused by its verdict.
    UNKNOWN: anything may have happened."""

    OK = "ok"
    REFUSED = "refused"
    JUDGED = "judged"
    UNKNOWN = "unknown"


@dataclass(slots=True, frozen=True)
class Sent:
    """One attempt to send one event. `id` is that of the receipt (ue_<partition>_<offset>); `at` is in ms."""

    way: str
    event: Event
    outcome: Outcome
    at: int
    id: str | None = None
    status: int | None = None
    is_retry: bool = False


def identity(event: Event) -> str:
    """What is the same of an event however often it is sent, and wherever it is seen."""
    return json.dumps([str(event.get(field)) for field in ("subscriptionId", "eventKey", "eventId", "occurredAt")])


class Journal:
    """All attempts, in memory and as JSON lines in a file that can be read after a failure."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = file.open("w")
        self.sent: list[Sent] = []
        self.counts: Counter[str] = Counter()
        self.recent: deque[Sent] = deque(maxlen=RECENT_MAX)
        """The latest that were acknowledged: what is sent again on purpose, or taken back."""
        self.unsettled: deque[Event] = deque(maxlen=RECENT_MAX)
        """Events with an unknown outcome, which a client may send again."""

    def note(
        self,
        way: str,
        event: Event,
        outcome: Outcome,
        *,
        id: str | None = None,  # noqa: A002 - the field's name on the wire
        status: int | None = None,
        is_retry: bool = False,
    ) -> None:
        """Remember an attempt."""
        sent = Sent(way, event, outcome, now_ms(), id, status, is_retry)
        self.sent.append(sent)
        self.counts[outcome] += 1
        self.counts["retries"] += is_retry
        self.counts[f"by {way}"] += 1
        line = {"way": way, "outcome": outcome, "id": id, "status": status, "at": sent.at, "event": event}
        self._file.write(json.dumps(line) + "\n")
        if outcome is Outcome.OK:
            self.recent.append(sent)
        elif outcome is Outcome.UNKNOWN:
            self.unsettled.append(event)

    def close(self) -> None:
        """Write out what is not in the file yet."""
        self._file.close()
