"""The status as it goes out."""

from collections.abc import Sequence
from typing import Literal

from ingest.gateway.status.facts import Fact
from ingest.gateway.status.history import STEP_SECONDS, Step
from schemas.catalog import WireModel
from schemas.position import Ledger
from schemas.timestamps import TimestampText, timestamp_text


class PartView(WireModel):
    """How a part does, as far as what it leaves behind tells; `isWell` is null where nothing is known."""

    part: Literal["kafka", "postgres", "outbox", "workers", "ledger", "closer", "projector"]
    is_well: bool | None
    fact: str


class LedgerView(WireModel):
    """How many records got which verdict: received = accepted + duplicate + rejected + forwarded, and the same of
    those that were forwarded to this partition."""

    received: int
    accepted: int
    duplicate: int
    rejected: int
    forwarded: int
    forwarded_in: int
    forwarded_in_accepted: int
    forwarded_in_duplicate: int
    forwarded_in_rejected: int
    voids: int
    voids_repeated: int
    voids_rejected: int

    @classmethod
    def of(cls, ledger: Ledger) -> "LedgerView":
        """The view of a ledger."""
        return cls.model_validate(ledger.wire())


class PartitionView(WireModel):
    """A partition: up to which offset of `usage-events` it is counted and where that ends, how many records of all its
    sources wait and since when the oldest does, when the position was written. `ledger` adds up; it is null where
    `problem` says why it can't be shown."""

    partition: int
    position: int
    end_offset: int
    lag: int
    waiting_since: TimestampText | None
    position_at: TimestampText | None
    ledger: LedgerView | None
    problem: str | None


class StepView(WireModel):
    """How many events were received and got which verdict in the seconds before `end`."""

    end: TimestampText
    received: int
    accepted: int
    duplicate: int
    rejected: int


class RatesView(WireModel):
    """The last 15 minutes, oldest first; a step that is not known yet is missing."""

    step_seconds: int
    steps: list[StepView]


class StatusView(WireModel):
    """How the deployment did at a moment; without partitions and rates while Kafka is away."""

    at: TimestampText
    parts: list[PartView]
    partitions: list[PartitionView]
    rates: RatesView


def part_views(facts: Sequence[Fact]) -> list[PartView]:
    """The views of what is known of the parts."""
    return [PartView.model_validate({"part": fact.part, "isWell": fact.is_well, "fact": fact.fact}) for fact in facts]


def rates_view(steps: Sequence[Step]) -> RatesView:
    """The view of the steps."""
    return RatesView(
        step_seconds=STEP_SECONDS,
        steps=[
            StepView(
                end=timestamp_text(step.end),
                received=step.verdicts.received,
                accepted=step.verdicts.accepted,
                duplicate=step.verdicts.duplicate,
                rejected=step.verdicts.rejected,
            )
            for step in steps
        ],
    )
