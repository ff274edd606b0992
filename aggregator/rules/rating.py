"""What a batch adds to the live rates."""

from collections.abc import Iterable

from aggregator.rules.verdicts import Decisions
from schemas.usage_rate import OTHER_METERS, UsageRate

RATES_MAX = 256
"""Meters of a batch that are told one by one. Where each event key is a meter of its own, a batch has as many meters as
events, and would else write each of them twice."""


def rates_of(decisions: Decisions) -> list[UsageRate]:
    """The usage of each meter, as far as there are not too many; then of those with the most events, and the rest of
    each service together."""
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for key, total in decisions.totals.items():
        service_id, events_before, quantity_before = decisions.before[key]
        event_count, quantity = sums.get((service_id, key[2]), (0, 0))
        event_count += total.event_count - events_before
        sums[service_id, key[2]] = event_count, quantity + total.quantity - quantity_before
    rates = [UsageRate(service_id, meter, *sum_) for (service_id, meter), sum_ in sums.items()]
    if len(rates) <= RATES_MAX:
        return rates
    rates.sort(key=lambda rate: rate.event_count, reverse=True)
    return [*rates[:RATES_MAX], *_of_other_meters(rates[RATES_MAX:])]


def _of_other_meters(rates: Iterable[UsageRate]) -> Iterable[UsageRate]:
    services: dict[str, tuple[int, int]] = {}
    for rate in rates:
        event_count, quantity = services.get(rate.service_id, (0, 0))
        services[rate.service_id] = (event_count + rate.event_count, quantity + rate.quantity)
    return [UsageRate(service_id, OTHER_METERS, *sums) for service_id, sums in services.items()]
