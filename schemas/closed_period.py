"""A closed billing period: what `closed-periods` holds, and all that an invoice's amount is computed from."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from schemas.canonical import digest, sealed
from schemas.decimals import PRICE_PLACES, decimal_text, scaled_of_own
from schemas.plan import Invoicing, Plan, PricingType
from schemas.price import Price
from schemas.pricing import Prices
from schemas.timestamps import timestamp_of_own, timestamp_text

PART_LINES_MAX: Final = 1_000


@dataclass(slots=True, frozen=True)
class Charge:
    """A quantity in millionths, the number of events it came in, and the amount charged for it in millionths."""

    quantity: int = 0
    event_count: int = 0
    amount: int = 0

    def wire(self) -> dict[str, Any]:
        """The fields as they go out."""
        return {
            "quantity": decimal_text(self.quantity),
            "eventCount": self.event_count,
            "amount": decimal_text(self.amount),
        }

    def to_json(self) -> str:
        """The fields as JSON."""
        quantity, amount = decimal_text(self.quantity), decimal_text(self.amount)
        return f'{{"quantity":"{quantity}","eventCount":{self.event_count},"amount":"{amount}"}}'

    @classmethod
    def of_wire(cls, document: dict[str, Any]) -> "Charge":
        """The inverse of wire()."""
        return cls(
            scaled_of_own(document["quantity"]),
            document["eventCount"],
            scaled_of_own(document.get("amount", "0.000000")),
        )


NOTHING_CHARGED: Final = Charge()


@dataclass(slots=True, frozen=True)
class ClosedLine:
    """What one meter gained in this sequence, and what earlier sequences of the period charged for it."""

    meter: str
    quantity: int
    event_count: int
    charged_before: Charge = NOTHING_CHARGED


@dataclass(slots=True, frozen=True)
class ClosedPeriod:
    """One sequence of a closed period, whole. Sequence 0 is the regular close, the others are adjustments."""

    subscription_id: str
    service_id: str
    user_id: str
    plan: Plan
    start: int
    end: int
    sequence: int
    lines: tuple[ClosedLine, ...]
    first_offset: int | None
    last_offset: int | None

    def records(self) -> Iterator[tuple[bytes, bytes]]:
        """Key and value of each part. Each carries its digest; the last one's covers those of the parts before."""
        parts = [self.lines[i : i + PART_LINES_MAX] for i in range(0, len(self.lines), PART_LINES_MAX)] or [()]
        digests: list[str] = []
        for part, lines in enumerate(parts):
            value = self._part(part, len(parts), lines)
            if part == len(parts) - 1:
                value["partDigests"] = list(digests)
            part_digest, record = sealed(value)
            digests.append(part_digest)
            key = [
                self.subscription_id,
                timestamp_text(self.start),
                self.sequence,
                part,
            ]
            yield (
                json.dumps(key, ensure_ascii=False, separators=(",", ":")).encode(),
                record,
            )

    def _part(self, part: int, parts: int, lines: Sequence[ClosedLine]) -> dict[str, Any]:
        return {
            "subscriptionId": self.subscription_id,
            "serviceId": self.service_id,
            "userId": self.user_id,
            "planId": self.plan.id,
            "pricingType": self.plan.pricing_type.value,
            "invoicing": self.plan.invoicing.value,
            "currency": self.plan.currency,
            "prices": _prices_wire(self.plan, [line.meter for line in lines]),
            "periodStart": timestamp_text(self.start),
            "periodEnd": timestamp_text(self.end),
            "sequence": self.sequence,
            "part": part,
            "parts": parts,
            "lines": [
                {
                    "meter": line.meter,
                    "quantity": decimal_text(line.quantity),
                    "eventCount": line.event_count,
                    "chargedBefore": line.charged_before.wire(),
                }
                for line in lines
            ],
            "firstOffset": self.first_offset,
            "lastOffset": self.last_offset,
        }


def _prices_wire(prices: Prices, meters: Sequence[str]) -> dict[str, Any]:
    """What these meters cost. `prices` is left out where it is empty, as it is in records from before there were any:
    their digests must not change."""
    unit_prices = prices.unit_prices
    named = {meter: prices.prices[meter].wire() for meter in meters if meter in prices.prices}
    return {
        "amount": decimal_text(prices.amount),
        "unitPrices": {
            meter: decimal_text(unit_prices[meter], PRICE_PLACES) for meter in meters if meter in unit_prices
        },
    } | ({"prices": named} if named else {})


def _prices_of_wire(document: dict[str, Any]) -> Prices:
    return Prices.model_construct(
        amount=scaled_of_own(document["amount"]),
        unit_prices={meter: scaled_of_own(price, PRICE_PLACES) for meter, price in document["unitPrices"].items()},
        prices={meter: Price.model_validate(price) for meter, price in document.get("prices", {}).items()},
    )


@dataclass(slots=True, frozen=True)
class ClosedPart:
    """One record of `closed-periods` as the closer reads it."""

    subscription_id: str
    service_id: str
    user_id: str
    plan_id: str
    pricing_type: PricingType
    invoicing: Invoicing
    currency: str
    prices: Prices
    start: int
    end: int
    sequence: int
    part: int
    parts: int
    lines: tuple[ClosedLine, ...]
    first_offset: int | None
    last_offset: int | None
    digest: str
    part_digests: tuple[str, ...]
    """Of the last part only: the digests of those before it."""


def parse_closed_part(value: bytes) -> ClosedPart:
    """A record of `closed-periods`. Raises ValueError where it is not what a worker wrote, or its digest is wrong."""
    document = _DECODER.decode(value.decode())
    if type(document) is not dict or not _is_signed(value, document):
        raise ValueError("the digest does not match the record")
    try:
        return _closed_part(document)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the record is not one of a closed period: {error!r}") from error


def _is_signed(value: bytes, document: dict[str, Any]) -> bool:
    """Whether the record has its own digest. A worker writes canonical JSON, so without the digest it is what was
    digested, and need not be written again; else its content decides."""
    own = document.get("digest")
    rest = value.replace(f'"digest":"{own}",'.encode(), b"", 1)
    return hashlib.sha256(rest).hexdigest() == own or digest(document) == own


def _refuse_float(digits: str) -> NoReturn:
    raise ValueError(f"a record holds decimals as text, and this one the number {digits}")


_DECODER: Final = json.JSONDecoder(parse_float=_refuse_float)


def _closed_part(document: dict[str, Any]) -> ClosedPart:
    return ClosedPart(
        subscription_id=document["subscriptionId"],
        service_id=document["serviceId"],
        user_id=document["userId"],
        plan_id=document["planId"],
        pricing_type=PricingType(document["pricingType"]),
        invoicing=Invoicing(document["invoicing"]),
        currency=document["currency"],
        prices=_prices_of_wire(document["prices"]),
        start=timestamp_of_own(document["periodStart"]),
        end=timestamp_of_own(document["periodEnd"]),
        sequence=document["sequence"],
        part=document["part"],
        parts=document["parts"],
        lines=tuple(
            ClosedLine(
                line["meter"],
                scaled_of_own(line["quantity"]),
                line["eventCount"],
                Charge.of_wire(line["chargedBefore"]),
            )
            for line in document["lines"]
        ),
        first_offset=document["firstOffset"],
        last_offset=document["lastOffset"],
        digest=document["digest"],
        part_digests=tuple(document["partDigests"] if document["part"] + 1 == document["parts"] else ()),
    )
