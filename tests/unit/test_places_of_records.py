"""The unique keys that a restore reads are put with their places, whether their records lie in a fetch or not."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aggregator.engine.tables import Changes
from schemas.plain import compiled
from tests.unit.fetches import Batch, Sent, fetch_of

AT = 1_767_225_600_000
Made = Callable[[Sequence[Sent]], list[Any]]

without_compiler = pytest.mark.skipif(compiled is None, reason="no C compiler was there")


def in_a_fetch(sent: Sequence[Sent]) -> list[Any]:
    assert compiled is not None
    data = fetch_of([Batch(sent)]) if sent else b""
    return compiled.fetched(data, 0, len(data), 0) if sent else []


def decoded(sent: Sequence[Sent]) -> list[Any]:
    return [SimpleNamespace(key=record.key, headers=tuple(record.headers)) for record in sent]


both = pytest.mark.parametrize("made", [pytest.param(in_a_fetch, marks=without_compiler), decoded])


def put(records: list[Any]) -> list[tuple[bytes, Any]]:
    """What is put of records."""
    changes = Changes()
    found: list[tuple[bytes, Any]] = []
    changes.batch = SimpleNamespace(put=lambda *pair: found.append(pair))
    changes.put_places_of(records, "place")
    return found


@both
@given(keys=st.lists(st.one_of(st.binary(max_size=3), st.sampled_from([b"a", b"ab", b"b"])), max_size=9))
@example(keys=[b"b", b"ab", b"", b"a", b"b", b"\xff"])
def test_each_key_has_the_place_of_its_last_record(made: Made, keys: list[bytes]) -> None:
    headers = [[("place", b"former"), ("other", b"x"), ("place", b"%d" % number)] for number in range(len(keys))]
    found = put(made([Sent(number, AT, key, b"", headers[number]) for number, key in enumerate(keys)]))
    assert dict(found) == {b"K" + key: b"%d" % number for number, key in enumerate(keys)}
    assert [key for key, _ in found] == sorted(key for key, _ in found)


@both
def test_records_without_a_place_or_a_key_are_errors(made: Made) -> None:
    assert put(made([Sent(0, AT, b"b", b"", [("place", None)])])) == [(b"Kb", None)]
    for headers in ([], [("places", b"x")]):
        with pytest.raises(KeyError):
            put(made([Sent(0, AT, b"a", b"", headers)]))
    with pytest.raises(TypeError):
        put(made([Sent(0, AT, None, b"", [("place", b"1")])]))


@without_compiler
def test_what_can_not_be_put_raises() -> None:
    assert compiled is not None
    records = in_a_fetch([Sent(0, AT, b"a", b"", [("place", b"1")])])
    for arguments in ((), (id, "K", records, "place"), (id, b"K", (), "place"), (id, b"K", records, 7)):
        with pytest.raises(TypeError):
            compiled.put_fetched(*arguments)
    with pytest.raises(ZeroDivisionError):
        compiled.put_fetched(lambda *_: 1 // 0, b"K", records, "place")
    assert not compiled.put_fetched(lambda *_: 1 // 0, b"K", [*records, object()], "place")
