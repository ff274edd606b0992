"""Rule 4, settled anew: of the events of one key the first valid one counts, in every order that a worker may have read
its two sources in."""

from itertools import permutations

import pytest

from aggregator.audit.settling import DUPLICATE, Candidate, settled
from aggregator.audit.sources import FORWARDED, OWN

SAME, OTHER = b"same", b"other"
CLOSED = " invoice_closed "
EITHER = DUPLICATE + CLOSED
"""Either is right."""


def own(place: int, content: bytes = SAME, refused: str = "", *, counted: bool = False) -> Candidate:
    return Candidate(place, OWN, refused, content, counted)


def forwarded(place: int, content: bytes = SAME, refused: str = "", *, counted: bool = False) -> Candidate:
    return Candidate(place, FORWARDED, refused, content, counted)


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        ([own(1), own(2)], ["", DUPLICATE]),
        ([own(1), own(2, OTHER)], ["", DUPLICATE]),
        ([own(1, refused=CLOSED), own(2)], [CLOSED, ""]),
        ([own(1), own(2, SAME, CLOSED)], ["", DUPLICATE]),  # an identical repeat, before any state check
        ([own(1), own(2, OTHER, CLOSED)], ["", CLOSED]),  # another content: the state comes first
        ([own(1, SAME, CLOSED), own(2, OTHER), own(3, SAME, CLOSED)], [CLOSED, "", CLOSED]),
        ([own(1, refused=CLOSED), own(2, refused=CLOSED)], [CLOSED, CLOSED]),
        # two sources: whichever counts is the first valid one of its source
        ([own(1, counted=True), forwarded(2)], ["", DUPLICATE]),
        ([own(1), forwarded(2, counted=True)], [DUPLICATE, ""]),
        ([own(1), own(2), forwarded(3, counted=True)], [DUPLICATE, DUPLICATE, ""]),
        ([own(1), own(2, counted=True), forwarded(3)], ["", DUPLICATE, DUPLICATE]),  # never the second one
        ([own(1), forwarded(2)], ["", DUPLICATE]),  # none counts: one of them had to
        # one that is not valid may have come before the one that counts, or after it
        ([own(1, counted=True), forwarded(2, SAME, CLOSED)], ["", EITHER]),
        ([own(1, counted=True), forwarded(2, OTHER, CLOSED)], ["", CLOSED]),
        ([own(1, refused=CLOSED), forwarded(2, counted=True)], [EITHER, ""]),
    ],
)
def test_the_first_valid_event_of_a_key_counts(candidates: list[Candidate], expected: list[str]) -> None:
    assert list(settled(candidates).values()) == expected


def test_exactly_one_valid_event_of_a_key_counts_whatever_there_is() -> None:
    kinds = [
        own(1),
        own(2, OTHER, CLOSED),
        own(3, OTHER),
        forwarded(4),
        forwarded(5, SAME, CLOSED),
        forwarded(6, OTHER),
    ]
    for chosen in permutations(kinds, 4):
        ordered = sorted(chosen, key=lambda candidate: (candidate.source, candidate.place))
        valid = [candidate for candidate in ordered if not candidate.refused]
        assert [*settled(ordered).values()].count("") == min(len(valid), 1)
