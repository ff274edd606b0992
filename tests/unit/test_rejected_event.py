"""What a rejected record says of itself, whatever it holds. The audit reads it anew, and must come to the same."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.audit import copied
from schemas.rejected_event import VALUE_BYTES_MAX, named_in

LARGE = b"x" * (VALUE_BYTES_MAX - 50)


@pytest.mark.parametrize(
    ("value", "service_id", "subscription_id"),
    [
        (b'{"serviceId":"svc","subscriptionId":"sub"}', "svc", "sub"),
        (b'{"serviceId":"  svc\\u00a0","subscriptionId":"\\u2003sub"}', "svc", "sub"),
        (b'{"serviceId":"svc"}', "svc", None),
        (b'{"subscriptionId":"sub","serviceId":null}', None, "sub"),
        (b'{"serviceId":1,"subscriptionId":["sub"]}', None, None),
        (b'{"serviceId":"","subscriptionId":"   "}', None, None),
        (b'{"serviceId":"a\\u0000b","subscriptionId":"a\\nb"}', None, None),
        (b'{"serviceId":"%s","subscriptionId":"%s"}' % (b"x" * 255, b"x" * 256), "x" * 255, None),
        (b'{"serviceId":"svc","quantity":NaN}', None, None),
        (b'{"serviceId":"svc","serviceId":"svc"}', None, None),
        (b'{"serviceId":"svc","a":"\\ud800"}', None, None),
        (b'{"serviceId":"svc","a":1e999999}', "svc", None),
        (b'{"serviceId":"svc","a":' + b"[" * 33 + b"]" * 33 + b"}", None, None),
        (b'{"serviceId":"svc","a":"' + LARGE[:-50] + b'"}', "svc", None),
        (b'{"serviceId":"svc","a":"' + LARGE * 2 + b'"}', None, None),
        (b'[{"serviceId":"svc"}]', None, None),
        (b'\xef\xbb\xbf{"serviceId":"svc"}', None, None),
        ('{"serviceId":"svc"}'.encode("utf-16"), None, None),
        (b'{"serviceId":"\xff"}', None, None),
        (b"[" * 100_000, None, None),
        (b"\x00", None, None),
        (b"", None, None),
        (None, None, None),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_service_and_subscription_are_those_that_the_gateway_would_read(
    value: bytes | None, service_id: str | None, subscription_id: str | None
) -> None:
    assert named_in(value) == (service_id, subscription_id)
    assert copied.named_in(value) == (service_id, subscription_id)


@given(
    st.dictionaries(
        st.sampled_from(["serviceId", "subscriptionId", "more"]),
        st.recursive(st.text() | st.none() | st.floats() | st.booleans(), st.lists),
    ),
    st.binary(max_size=2),
)
def test_the_audit_finds_the_same_names_in_whatever_was_rejected(document: dict[str, Any], after: bytes) -> None:
    for value in (json.dumps(document).encode(), json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")):
        assert named_in(value + after) == copied.named_in(value + after)
