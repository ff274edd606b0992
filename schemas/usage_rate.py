"""The usage that one batch accepted of a meter of a service: what `usage-rates` holds, for live rates and alerts.

Keys are `[serviceId, meter]`; the meter "" stands for the meters of a service that a batch had too many of.
"""

import json
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import Final

from schemas.decimals import decimal_text, scaled_of_own

OTHER_METERS: Final = ""


@dataclass(slots=True, frozen=True)
class UsageRate:
    """How many events of a meter were accepted, and their quantity."""

    service_id: str
    meter: str
    event_count: int
    quantity: int

    @property
    def key(self) -> bytes:
        """The key on `usage-rates`."""
        return f"[{encode_basestring(self.service_id)},{encode_basestring(self.meter)}]".encode()

    def to_json(self) -> bytes:
        """The value on `usage-rates`."""
        return f'{{"eventCount":{self.event_count},"quantity":"{decimal_text(self.quantity)}"}}'.encode()

    @classmethod
    def of_record(cls, key: bytes | None, value: bytes | None) -> "UsageRate":
        """The inverse. Raises ValueError, LookupError or TypeError for what no worker wrote."""
        service_id, meter = json.loads(key or b"")
        document = json.loads(value or b"")
        event_count = document["eventCount"]
        if type(service_id) is not str or type(meter) is not str or type(event_count) is not int:
            raise TypeError("serviceId, meter and eventCount are two texts and a number")
        return cls(service_id, meter, event_count, scaled_of_own(document["quantity"]))
