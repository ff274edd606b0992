"""When a change of status happened: at the append time of the first publication of the version that made it."""

from collections.abc import Mapping
from typing import Any

from schemas.timestamps import timestamp_text


def dated(entry: dict[str, Any], append_times: Mapping[int, int]) -> dict[str, Any]:
    """The catalog entry with the times of its transitions, as far as the append time (ms) of their version is known.

    A time that is there already stands: publishing an entry again never moves a change of status.
    """
    if "transitions" not in entry:
        return entry
    return {**entry, "transitions": [_dated(transition, append_times) for transition in entry["transitions"]]}


def _dated(transition: dict[str, Any], append_times: Mapping[int, int]) -> dict[str, Any]:
    at = append_times.get(transition["version"])
    if transition["at"] is not None or at is None:
        return transition
    return {**transition, "at": timestamp_text(at)}
