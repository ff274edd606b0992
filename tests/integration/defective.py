"""A worker with a defect: it fails at the one event whose key says so. Run as `python -m tests.integration.defective
raises|dies`, with the environment of a worker."""

import os
import signal
import sys

from aggregator.rules import deciding
from aggregator.rules.uniqueness import identity
from deploy.cli import main
from schemas.billing_period import BillingPeriod
from schemas.service import EventKeyScope
from schemas.usage_event import UsageEvent

POISON = "tokens#poisön"
"""Not plain, so that Python looks at the event."""


def poisoned(event: UsageEvent, scope: EventKeyScope, period: BillingPeriod) -> tuple[bytes, bytes, str]:
    if event.event_key == POISON:
        if sys.argv[1] == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        raise ZeroDivisionError("a defect that this record meets")
    return identity(event, scope, period)


if __name__ == "__main__":
    deciding.identity = poisoned  # type: ignore[attr-defined]  # the seam of this test
    main(["--log-level", "warning", "aggregator"])
