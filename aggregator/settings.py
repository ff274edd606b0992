"""Settings of the processes of this package."""

from pydantic import Field

from schemas.settings import PartSettings


class ConsumerSettings(PartSettings):
    """What all processes of this package have, since each reads topics."""

    stalled_seconds: int = Field(30, ge=1, description="seconds without getting on after which one is not ready")


class AggregatorSettings(ConsumerSettings):
    """Settings of a worker of the aggregator."""

    app_id: str = Field(
        "tally", description="names the consumer group and the transactional ids; the same for all workers, for life"
    )
    state_dir: str = Field("tally-state", description="directory of this worker's RocksDB stores, for it alone")
    grace_seconds: int = Field(
        3600,
        ge=0,
        description="quiet time before a period closes, where the service sets none, s; the same for all workers",
    )
    batch_records_max: int = Field(12_000, ge=1, description="records in a batch at the most")
    poll_milliseconds: int = Field(200, ge=1, description="how long a read waits for records, ms")
    linger_milliseconds: int = Field(10, ge=0, description="how long a small batch waits for company, ms")
    linger_below_records: int = Field(200, ge=0, description="a batch with fewer records is small")
    transaction_timeout_seconds: int = Field(10, ge=1, description="a transaction that takes longer ends the worker, s")
    session_timeout_seconds: int = Field(6, ge=6, description="a worker silent for longer loses its partitions, s")
    cache_mib: int = Field(128, ge=8, description="RocksDB's block cache of the whole process, MiB")
    write_buffer_mib: int = Field(128, ge=8, description="RocksDB's write buffers of the whole process, MiB")


class CloserSettings(ConsumerSettings):
    """Settings of the closer."""

    closer_batch_records: int = Field(1_000, ge=1, description="records of closed-periods in a transaction at the most")
    closer_lease_seconds: int = Field(10, ge=1, description="a closer silent for longer may be replaced by another, s")


class ProjectorSettings(ConsumerSettings):
    """Settings of the projector."""

    projector_batch_records: int = Field(5_000, ge=1, description="records copied in one transaction at the most")
    project_events: bool = Field(
        True,
        description="whether single events are copied to Postgres too (usage_events, rejected_usage_events), true or"
        " false; where it is off, those topics are not read, and turned on again, the copying goes on where it stood,"
        " without what rejected-usage has deleted meanwhile (after 35 days)",
    )
