"""The header Prefer (RFC 7240)."""

import pytest

from ingest.gateway.prefer import Preference, preference


@pytest.mark.parametrize(
    ("sent", "seconds", "applied"),
    [
        ([], 5, ""),
        (["wait=0"], 0, "wait=0"),
        (["wait=10"], 10, "wait=10"),
        (["wait=30"], 30, "wait=30"),
        (["wait=31"], 30, "wait=30"),  # the most there is
        (['wait="7"'], 7, "wait=7"),
        (["WAIT = 7"], 7, "wait=7"),
        (["wait=7; foo=bar"], 7, "wait=7"),
        (["wait=7, wait=9"], 7, "wait=7"),  # the first counts
        (["wait=7", "wait=9"], 7, "wait=7"),
        (["respond-async"], 0, "respond-async"),
        (["Respond-Async"], 0, "respond-async"),
        (["respond-async, wait=2"], 2, "respond-async, wait=2"),
        (["wait=2", "respond-async"], 2, "respond-async, wait=2"),
        (["return=minimal, wait=3"], 3, "wait=3"),
        # what can't be followed is ignored
        (["wait"], 5, ""),
        (["wait=-1"], 5, ""),
        (["wait=1.5"], 5, ""),
        (["wait=\u0663"], 5, ""),
        (["wait=9999999999"], 5, ""),
        (["respond-async=no"], 5, ""),
        ([""], 5, ""),
        ([",,;"], 5, ""),
    ],
)
def test_what_is_asked_for_is_followed_and_said(sent: list[str], seconds: int, applied: str) -> None:
    headers = [(b"accept", b"*/*"), *((b"prefer", value.encode("utf-8")) for value in sent)]
    wish = preference(headers)
    assert wish == Preference(seconds, applied)
    assert wish.headers() == ([(b"preference-applied", applied.encode())] if applied else [])
