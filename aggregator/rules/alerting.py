"""When usage crosses a threshold, and when it has come back."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from aggregator.rules.rates import Pair, Usage
from schemas.alert import Alert, AlertStatus, Measure
from schemas.decimals import QUANTITY_ONE

Subject = tuple[str, str, str]
"""Rule, service and meter."""


@dataclass(slots=True, frozen=True)
class AlertRule:
    """Fires where the usage of a window passes `threshold`, upwards or, with `is_below`, downwards; it is resolved once
    the usage is back at `clear`, which lies on the other side. Both are in millionths.

    Without a service or a meter, each that has usage is judged by itself. A rule that looks below names both: what
    is not there has no name.
    """

    name: str
    measure: Measure
    threshold: int
    clear: int
    window_seconds: int
    is_below: bool = False
    service_id: str | None = None
    meter: str | None = None

    @property
    def pair(self) -> Pair | None:
        """The one service and meter that the rule is for, None where it is for several."""
        if self.service_id is None or self.meter is None:
            return None
        return self.service_id, self.meter

    def is_for(self, pair: Pair) -> bool:
        """Whether it judges this meter of this service."""
        return self.service_id in (None, pair[0]) and self.meter in (None, pair[1])

    def fires(self, value: int, was_firing: bool) -> bool:
        """Whether it fires at this value: between `clear` and the threshold, as it did before."""
        if self.is_below:
            return value < self.threshold or (was_firing and value < self.clear)
        return value > self.threshold or (was_firing and value > self.clear)


def changes(
    rules: Iterable[AlertRule],
    firing: Mapping[Subject, Alert],
    usages: Mapping[int, Mapping[Pair, Usage]],
    at: int,
) -> Iterator[Alert]:
    """The alerts that begin or end with the windows that end at `at` (ms). `firing` are those that have begun; `usages`
    has the usage of each window by its seconds. One whose rule is gone ends with the value 0."""
    known = {rule.name: rule for rule in rules}
    for rule in known.values():
        usage = usages[rule.window_seconds]
        for pair in _pairs(rule, firing, usage):
            value = _measured(rule.measure, usage.get(pair))
            was_firing = (rule.name, *pair) in firing
            if rule.fires(value, was_firing) is not was_firing:
                yield _alert(rule, pair, AlertStatus.RESOLVED if was_firing else AlertStatus.FIRING, value, at)
    for (name, *_), alert in firing.items():
        if name not in known or not known[name].is_for((alert.service_id, alert.meter)):
            yield replace(alert, status=AlertStatus.RESOLVED, value=0, at=at)


def _pairs(rule: AlertRule, firing: Mapping[Subject, Alert], usage: Mapping[Pair, Usage]) -> set[Pair]:
    if rule.pair is not None:
        return {rule.pair}
    fired = {(service_id, meter) for name, service_id, meter in firing if name == rule.name}
    return {pair for pair in {*usage, *fired} if rule.is_for(pair)}


def _measured(measure: Measure, usage: Usage | None) -> int:
    if usage is None:
        return 0
    return usage.quantity if measure is Measure.QUANTITY else usage.event_count * QUANTITY_ONE


def _alert(rule: AlertRule, pair: Pair, status: AlertStatus, value: int, at: int) -> Alert:
    return Alert(rule.name, *pair, status, rule.measure, value, rule.threshold, rule.window_seconds, at)
