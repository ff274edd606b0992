"""Settings that every process shares. Each is an environment variable TALLY_<NAME> and a flag --<name>.

A process extends `Settings` with its own in its own package; `deploy.cli` makes the flags of the fields.
"""

import re
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.topics import Topic

_BROKER = re.compile(r"([^\s,:\[\]]+|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?").fullmatch


class Settings(BaseSettings):
    """Where the deployment's Kafka and Postgres are, and what its topics are called."""

    model_config = SettingsConfigDict(env_prefix="TALLY_", extra="ignore", frozen=True)

    kafka: str = Field("127.0.0.1:9092", description="Kafka bootstrap servers, HOST:PORT[,HOST:PORT...]")
    database_url: str = Field(
        "postgresql://127.0.0.1:5432/tally", description="Postgres, postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
    )
    topic_prefix: str = Field("", description="what every topic's name begins with: several Tallies on one Kafka")
    partitions: int = Field(8, ge=1, le=1024, description="partitions of usage-events; never changes once created")

    @field_validator("kafka")
    @classmethod
    def _names_brokers(cls, value: str) -> str:
        if not all(_BROKER(broker) for broker in value.split(",")):
            raise ValueError("write HOST:PORT[,HOST:PORT...]")
        return value

    @field_validator("database_url")
    @classmethod
    def _names_a_database(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            is_readable = parts.scheme in ("postgresql", "postgres") and parts.port != 0
        except ValueError:  # of a port that is no number, as of a password with a slash
            is_readable = False
        if not is_readable:
            raise ValueError(
                "write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, the special characters of the password"
                " percent-encoded"
            )
        return value

    def topic(self, topic: Topic) -> str:
        """The topic's name in this deployment."""
        return self.topic_prefix + topic.value


class PartSettings(Settings):
    """What every process has that runs until it is stopped."""

    metrics_host: str = Field(
        "127.0.0.1", description="address of /metrics and /health; the gateway's are at that of the API"
    )
    metrics_port: int = Field(0, ge=0, le=65535, description="their port; 0: any free one, which the log names")
    watchdog_seconds: int = Field(60, ge=1, description="a process whose event loop hangs for longer is ended, s")
