"""What many panels ask Prometheus."""

from typing import Final

from deploy.dashboards.panel import Panel, Query, graph

PARTS: Final = 'job=~"tally-.+"'
VERDICTS: Final = "accepted|duplicate|rejected|forwarded"


def rate(metric: str, by: str = "") -> str:
    return f"sum{f' by ({by}) ' if by else ''}(rate({metric}[$__rate_interval]))"


def increase(metric: str) -> str:
    return f"sum(increase({metric}[$__rate_interval]))"


def quantiles(metric: str) -> tuple[Query, ...]:
    """Half of all, and all but one in a hundred, took no longer."""
    by_bucket = rate(f"{metric}_bucket", "le")
    return tuple(Query(f"histogram_quantile({q}, {by_bucket})", f"p{q * 100:.0f}") for q in (0.5, 0.99))


def mean(histogram: str, legend: str) -> Query:
    return Query(f"{rate(f'{histogram}_sum')} / {rate(f'{histogram}_count')}", legend)


def by_partition(title: str, description: str, unit: str, metric: str) -> Panel:
    return graph(title, description, unit, Query(f"sum by (partition) ({metric})", "{{partition}}"))
