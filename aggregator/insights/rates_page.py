"""What GET /rates shows."""

from typing import Any, Final

from aggregator.rules.rates import KEPT_MS, STEP_MS, Rates, Usage, settled_end, total_of
from schemas.decimals import QUANTITY_ONE, decimal_text
from schemas.timestamps import SECOND_MS, timestamp_text

WINDOWS: Final = {"lastMinute": 60, "last15Minutes": 900}
"""In seconds."""
NOTHING: Final = Usage()


def rates_page(rates: Rates, at: int) -> dict[str, Any]:
    """The rates of each meter, those with most events first, and of all together, as of `at` (ms)."""
    end = settled_end(at)
    usages = {name: rates.within(end - seconds * SECOND_MS, end) for name, seconds in WINDOWS.items()}
    longest = usages["last15Minutes"]
    pairs = sorted(longest, key=lambda pair: longest[pair].event_count, reverse=True)
    return {
        "asOf": timestamp_text(end),
        "total": {
            **_windows({name: total_of(usage) for name, usage in usages.items()}),
            "series": {
                "start": timestamp_text(end - KEPT_MS),
                "stepSeconds": STEP_MS // SECOND_MS,
                "eventCounts": rates.series(end - KEPT_MS, end),
            },
        },
        "rates": [
            {
                "serviceId": service_id,
                "meter": meter,
                **_windows({name: usage.get((service_id, meter), NOTHING) for name, usage in usages.items()}),
            }
            for service_id, meter in pairs
        ],
    }


def _windows(usages: dict[str, Usage]) -> dict[str, Any]:
    return {
        name: {
            "eventCount": usage.event_count,
            "quantity": decimal_text(usage.quantity),
            "eventsPerSecond": decimal_text(usage.event_count * QUANTITY_ONE // WINDOWS[name]),
            "quantityPerSecond": decimal_text(usage.quantity // WINDOWS[name]),
        }
        for name, usage in usages.items()
    }
