"""What every part tells Prometheus, whichever it is."""

from importlib.metadata import version

from prometheus_client import Counter, Gauge, disable_created_metrics

BUILD = Gauge("tally_build_info", "Always 1: which part this is, and which version of Tally.", ["part", "version"])
LOGGED = Counter(
    "tally_log_records", "Lines logged, by level; error and critical: something was lost, or halted.", ["level"]
)


def introduce(part: str) -> None:
    """Say who this process is. Call this before any metric has a label."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # series that say since when, which nobody asks
    BUILD.labels(part, version("tally-usage")).set(1)
