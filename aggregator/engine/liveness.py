"""Whether a worker gets on with its partitions: what it answers to /health/ready.

A worker is ready when it has opened the partitions that it was first given, or was given none; when a broker answers;
and when each of its partitions has nothing left to decide or moves. Losing the fence is no state of a worker: it exits.
"""

from collections.abc import Mapping

from aggregator.stream.progress import Progress, Stalls


class Liveness:
    """Told about every second how the partitions stand; says what is wrong with them. Time is an argument."""

    def __init__(self, stalled_seconds: float) -> None:
        self._seconds = stalled_seconds
        self._stalls: Stalls[int] = Stalls(stalled_seconds)
        self._opening: dict[int, float] = {}
        self._has_opened = False
        self._heard_at: float | None = None
        self._away: str | None = None

    def observe(self, now: float, partitions: Mapping[int, Progress | None]) -> None:
        """The worker is in its group and owns these partitions; one that is still being opened has no progress."""
        self._stalls.observe(now, {number: progress for number, progress in partitions.items() if progress is not None})
        opening = [number for number, progress in partitions.items() if progress is None]
        self._opening = {number: self._opening.get(number, now) for number in opening}
        self._has_opened = self._has_opened or not opening
        self._heard_at, self._away = now, None

    def away(self, now: float, why: str) -> None:
        """Kafka did not say where the partitions stand."""
        self._heard_at, self._away = now, why

    def unready(self, now: float) -> list[str]:
        """A sentence for each thing that is wrong; none: the worker is ready."""
        if self._heard_at is None:
            return ["The worker has not joined its group yet."]
        sentences = []
        if now - self._heard_at >= self._seconds:
            sentences.append(f"The worker has not looked after itself for {now - self._heard_at:.0f} s: it hangs.")
        if self._away is not None:
            sentences.append(f"Kafka does not answer: {self._away}.")
        elif not (self._has_opened or self._opening):
            sentences.append("The worker has not been given its first partitions yet.")
        sentences += [
            f"Partition {number} has been opening for {now - since:.0f} s."
            for number, since in self._opening.items()
            if not self._has_opened or now - since >= self._seconds
        ]
        sentences += [
            f"Partition {stall.key} has {stall.lag} records to decide, and none was decided for {stall.seconds:.0f} s."
            for stall in self._stalls.stalled(now)
        ]
        return sentences
