"""The gateway's settings."""

from pydantic import Field

from schemas.settings import PartSettings


class GatewaySettings(PartSettings):
    """Where the gateway listens, and how long and for how much it waits."""

    http_host: str = Field("127.0.0.1", description="address that the API listens on")
    http_port: int = Field(8080, ge=0, le=65535, description="port of the API; 0: any free port")
    answer_seconds: float = Field(4, gt=0, le=60, description="seconds to wait for Kafka or Postgres before a 503")
    body_seconds: float = Field(30, gt=0, le=600, description="seconds that a request's headers may take, and its body")
    drain_seconds: int = Field(
        8,
        ge=1,
        le=600,
        description="seconds that open requests get when the gateway stops; to let go of Kafka and Postgres takes up to"
        " 4 more",
    )
    events_waiting: int = Field(50_000, ge=1_000, description="usage events that may wait for Kafka; more get a 503")
    bytes_waiting: int = Field(64 * 2**20, ge=2**20, description="bytes of usage events that may wait for Kafka")
    database_connections: int = Field(10, ge=2, le=200, description="connections to Postgres")
    keys_seconds: float = Field(5, gt=0, le=300, description="seconds after which a revoked key is refused at latest")
    requests_per_second: int = Field(
        0,
        ge=0,
        description="requests a second of each key that has no limit of its own ('tally keys create"
        " --requests-per-second'); two seconds' worth may come at once, more get a 429; each gateway counts for itself;"
        " 0: any number",
    )
    connections: int = Field(
        10_000,
        ge=1,
        description="open connections of callers; more get a 503; the process needs as many file descriptors",
    )
