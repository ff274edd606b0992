"""Whether what a worker has counted is what the generator has, to the last digit."""

import json

from deploy.bench.workload import Expected
from deploy.log import ledger_of, reader, to_the_end
from schemas.settings import Settings
from schemas.topics import Topic
from schemas.totals import PERIOD_METER, MeterTotal


async def is_exact(settings: Settings, expected: Expected) -> bool:
    """Whether ledger and totals are as expected, and nothing was rejected, forwarded or put elsewhere."""
    totals: dict[tuple[str, str, str], int] = {}
    async with reader(settings, Topic.USAGE_TOTALS) as consumer:
        async for record in to_the_end(consumer):
            subscription_id, start, meter = json.loads(record.key)
            if meter != PERIOD_METER:
                totals[subscription_id, start, meter] = MeterTotal.of_json(record.value).quantity
    ledger = await ledger_of(settings)
    counts = (ledger["received"], ledger["accepted"], ledger["duplicate"])
    return totals == expected.sums and counts == (
        expected.accepted + expected.duplicates,
        expected.accepted,
        expected.duplicates,
    )
