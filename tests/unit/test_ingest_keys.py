"""API keys."""

import hashlib

import pytest

from ingest.keys import ApiKey, Scope, bearer_hash, find_key
from tests.unit.gateway_in_memory import key_text

KEY = key_text("k")
HASH = hashlib.sha256(KEY.encode()).digest()


@pytest.mark.parametrize(
    ("authorization", "found"),
    [
        (f"Bearer {KEY}", True),
        (f"bearer   {KEY}", True),
        (f"Bearer {KEY} ", False),
        (f" Bearer {KEY}", False),
        (f"Bearer\t{KEY}", False),
        (f"Bearer {KEY[:-1]}", False),
        (f"Bearer {KEY}k", False),
        (f"Bearer {KEY.upper()}", False),
        (f"Bearer {KEY}\n", False),
        (KEY, False),
        ("", False),
    ],
)
def test_bearer_header(authorization: str, found: bool) -> None:
    assert bearer_hash(authorization.encode()) == (HASH if found else None)


@pytest.mark.parametrize(
    ("services", "service_id", "sees"),
    [
        (None, "svc", True),
        (frozenset({"svc"}), "svc", True),
        (frozenset({"svc"}), "SVC", False),
        (frozenset(), "", False),
    ],
)
def test_key_sees_its_services_only(services: frozenset[str] | None, service_id: str, sees: bool) -> None:
    assert ApiKey("key_1", HASH, frozenset(), services).sees(service_id) is sees


def test_key_permits_its_scopes_only() -> None:
    key = ApiKey("key_1", HASH, frozenset({"read"}), None)
    assert [scope for scope in Scope if key.permits(scope)] == [Scope.READ]


def test_key_is_found_by_its_hash() -> None:
    key = ApiKey("key_1", HASH, frozenset(), None)
    assert find_key({HASH: key}, HASH) is key
    assert find_key({HASH: key}, hashlib.sha256(b"other").digest()) is None
