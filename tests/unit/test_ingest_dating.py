"""When a change of status happened."""

from typing import Any

from ingest.catalog.dating import dated

T1, T2, T3 = "2026-01-01T00:00:00.001Z", "2026-01-01T00:00:00.002Z", "2026-01-01T00:00:00.003Z"
JANUARY = 1_767_225_600_000


def subscription(*transitions: tuple[int, str, str | None]) -> dict[str, Any]:
    return {
        "id": "sub",
        "transitions": [{"version": version, "status": status, "at": at} for version, status, at in transitions],
    }


def test_newest_transition_stays_open_until_its_publication_is_acknowledged() -> None:
    entry = subscription((1, "ACTIVE", T1), (2, "CANCELLED", None))
    assert dated(entry, {1: JANUARY + 1}) == entry


def test_earlier_transition_gets_the_time_of_its_own_publication() -> None:
    entry = subscription((1, "ACTIVE", None), (2, "PAST_DUE", None))
    assert dated(entry, {1: JANUARY + 1}) == subscription((1, "ACTIVE", T1), (2, "PAST_DUE", None))
    assert dated(entry, {1: JANUARY + 1, 2: JANUARY + 2}) == subscription((1, "ACTIVE", T1), (2, "PAST_DUE", T2))


def test_time_that_is_known_never_moves() -> None:
    entry = subscription((1, "ACTIVE", T1), (2, "PAST_DUE", T2))
    assert dated(entry, {1: JANUARY + 3, 2: JANUARY + 3}) == entry


def test_version_without_a_change_of_status_dates_none() -> None:
    entry = subscription((1, "ACTIVE", T1), (3, "PAST_DUE", None))
    assert dated(entry, {2: JANUARY + 2}) == entry
    assert dated(entry, {3: JANUARY + 3}) == subscription((1, "ACTIVE", T1), (3, "PAST_DUE", T3))


def test_entries_without_transitions_are_as_they_are_and_nothing_is_changed_in_place() -> None:
    assert dated({"id": "svc"}, {1: JANUARY}) == {"id": "svc"}
    entry = subscription((1, "ACTIVE", None))
    dated(entry, {1: JANUARY + 1})
    assert entry == subscription((1, "ACTIVE", None))
