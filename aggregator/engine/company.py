"""How long the broker holds little usage back, so that more comes with one fetch and is counted in one transaction.

aiokafka has one fetch under way to a broker, for all partitions of a process, so this is the process's too. To hold one
back is cheap for the broker; a worker that waits itself has fetched every few events by then.
"""

import asyncio
from collections.abc import Collection, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer

from schemas.reply import REPLY_TO

ENOUGH_BYTES: Final = 64 << 10
"""What is not held back any longer."""
UNHELD_WAIT_MS: Final = 100
"""How long a fetch waits for anything at all where nothing is held back."""
_LOOK_RECORDS_MAX: Final = 200
"""Among more records nobody looks for one whose sender waits: they are worth a transaction."""
_EAGER_SECONDS: Final = 1.0


class Company:
    """What a consumer says to its broker: nothing is held back while somebody waits for verdicts, and one who did a
    moment ago is taken to do so still."""

    def __init__(self, linger_ms: int) -> None:
        self._linger_ms = linger_ms
        self._eager_until = 0.0
        self._fetcher: Any = None

    @property
    def fetch_max_wait_ms(self) -> int:
        """The consumer's setting of this name."""
        return self._linger_ms or UNHELD_WAIT_MS

    @property
    def fetch_min_bytes(self) -> int:
        """The consumer's setting of this name, for the next fetch."""
        is_eager = not self._linger_ms or asyncio.get_running_loop().time() < self._eager_until
        return 1 if is_eager else ENOUGH_BYTES

    def follow(self, consumer: AIOKafkaConsumer) -> None:
        """Have a consumer that was started keep to this."""
        self._fetcher = consumer._fetcher  # aiokafka 0.14.0 has the setting in there, and looks at it for each fetch

    def note(self, batches: Collection[Sequence[Any]]) -> None:
        """These records were read."""
        if sum(map(len, batches)) < _LOOK_RECORDS_MAX and _wants_reply(batches):
            self._eager_until = asyncio.get_running_loop().time() + _EAGER_SECONDS
        if self._fetcher is not None:
            self._fetcher._fetch_min_bytes = self.fetch_min_bytes


def _wants_reply(batches: Collection[Sequence[Any]]) -> bool:
    return any(name == REPLY_TO for records in batches for record in records for name, _ in record.headers)
