"""What the topic `catalog` holds: services, plans, subscriptions and invoices, with the fields that rules need.

Postgres is the record of the catalog; these are the copies that every worker reads (design section 7). An entry
carries a `version` that grows with each change: a reader keeps the highest and ignores the others.

A gateway that dies, or hangs, may leave a version in the topic twice. The first record of it in the log tells when its
change of status happened, for every reader: see supersedes().
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from schemas.timestamps import OptionalTimestamp


class WireModel(BaseModel):
    """A model whose fields have Python's names here and the contract's on the wire."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=True,
        frozen=True,
        extra="ignore",
    )

    def wire(self) -> dict[str, Any]:
        """The fields as they go out: decimals and times as text."""
        return self.model_dump(mode="json", by_alias=True)


class Transition(WireModel):
    """A change of status. `at` is the append time of its first publication; None until that is known, and then the
    time of the record that carries it."""

    version: int
    status: str
    at: OptionalTimestamp = None


def dated(transitions: tuple[Transition, ...], record_at: int) -> tuple[Transition, ...]:
    """The transitions of a catalog record that the broker appended at `record_at` (ms), each with its time."""
    return tuple(t if t.at is not None else t.model_copy(update={"at": record_at}) for t in transitions)


def is_dated(document: Mapping[str, Any]) -> bool:
    """Whether an entry says itself when each of its changes of status happened. Raises LookupError and TypeError."""
    return all(transition["at"] is not None for transition in document.get("transitions", ()))


def supersedes(document: Mapping[str, Any], held: Mapping[str, Any]) -> bool:
    """Whether an entry takes the place of the one that was read of its key before: with a higher version, or with the
    same one unless it would be dated by a later record. Raises LookupError and TypeError."""
    version, held_version = int(document["version"]), int(held["version"])
    return version > held_version or (version == held_version and is_dated(document))


def status_at(transitions: tuple[Transition, ...], at: int) -> str:
    """The status at a moment in ms: that of the last dated transition not after it; the first reaches back without
    limit (design section 4)."""
    for transition in reversed(transitions):
        if transition.at is not None and transition.at <= at:
            return transition.status
    return transitions[0].status
