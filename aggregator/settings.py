"""Settings of the processes of this package."""

import base64
import binascii
from typing import Final
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator

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
    batch_records_max: int = Field(20_000, ge=1, description="records in a batch at the most")
    poll_milliseconds: int = Field(200, ge=1, description="how long a read waits for records, ms")
    linger_milliseconds: int = Field(
        25, ge=0, description="how long little usage waits at the broker for more, while nobody awaits verdicts, ms"
    )
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


SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - of all such secrets
SECRET_BYTES_MIN: Final = 24


class InsightsSettings(ConsumerSettings):
    """Settings of the insights."""

    alerts: str = Field("", description="file of the thresholds to watch, TOML")
    rates_meters_max: int = Field(1_000, ge=1, description="meters whose live rates are kept apart at the most")
    webhook_secret: str = Field(
        "",
        repr=False,
        description="signs the webhooks: whsec_ and base64 of 24 bytes or more; several with spaces, the newest first",
    )
    webhook_url: str = Field("", repr=False, description="where invoices and alerts are posted, https://...")
    webhook_timeout_seconds: int = Field(15, ge=1, description="how long the receiver of a webhook may take, s")
    webhook_parallel: int = Field(16, ge=1, description="webhooks that are under way at the same time at the most")

    @field_validator("webhook_secret")
    @classmethod
    def _is_long_enough(cls, value: str) -> str:
        for secret in value.split():
            if not secret.startswith(SECRET_PREFIX) or len(secret_key(secret)) < SECRET_BYTES_MIN:
                raise ValueError(f"write {SECRET_PREFIX} and {SECRET_BYTES_MIN} random bytes or more in base64")
        return " ".join(value.split())

    @field_validator("webhook_url")
    @classmethod
    def _can_be_posted_to(cls, value: str, info: ValidationInfo) -> str:
        if value and not is_web_address(value):
            raise ValueError("write https://HOST/PATH")
        if value and info.data.get("webhook_secret") == "":
            raise ValueError("without TALLY_WEBHOOK_SECRET nobody can tell that a webhook is from Tally; set that too")
        return value

    @property
    def webhook_keys(self) -> list[bytes]:
        """The keys that sign, the newest first."""
        return [secret_key(secret) for secret in self.webhook_secret.split()]


def is_web_address(url: str) -> bool:
    """Whether a client can post to it: what it can't would only come to light with the first invoice."""
    if not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of a port or an IPv6 address; its words may quote a password
        return False


def secret_key(secret: str) -> bytes:
    """The key in a secret; empty where it is none."""
    try:
        return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        return b""
