"""Two processes that begin in the same moments both find the group of the live rates free, and Kafka then gives each a
part of the partitions. Neither knows the rates of all, not even once it is alone: it has not read what the other read.

So both end, and their supervisors start them anew; but one after the other, or they would meet again. The one without
partition 0 ends at once. The other ends when it is alone, and by then the first one waits for its turn.
"""

from collections.abc import Set
from typing import Final

from schemas.errors import OperatorError

LASTS: Final = 0
"""The partition whose reader is the last to end."""


class Sharing:
    """Whether the partitions, so many, were ever shared with another process since this one began."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.seen = False
        self._has_to_end = False

    def assigned(self, partitions: Set[int]) -> None:
        """Take note of what Kafka has given to this process."""
        if not partitions:
            return
        self.seen = self.seen or len(partitions) < self._count
        if self.seen and (LASTS not in partitions or len(partitions) == self._count):
            self._has_to_end = True

    def check(self) -> None:
        """Raises OperatorError when this process has to end."""
        if self._has_to_end:
            raise OperatorError(
                "Another 'tally insights' began to read the live rates in the same moments; "
                "this one has to be started again, and then waits for its turn or reads all of them."
            )
