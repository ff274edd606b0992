import pytest

from schemas.document import parse_object, validate
from schemas.rejection import Rejection
from schemas.service import NewService


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("60", 60),
        ("60.0", 60),
        ("6e1", 60),
        ("0.0", 0),
        ("null", None),
        ("316224000", 316224000),
        ("316224001", "field_invalid"),
        ("60.5", "field_invalid"),
        ("6e-1", "field_invalid"),
        ("-1.0", "field_invalid"),
        ("1e999999", "field_invalid"),
        ("true", "field_invalid"),
        ('"60"', "field_invalid"),
    ],
)
def test_seconds_are_an_integer_however_it_is_written(sent: str, expected: int | str | None) -> None:
    document = parse_object(f'{{"name": "n", "gracePeriodSeconds": {sent}}}'.encode())
    assert isinstance(document, dict)
    service = validate(NewService.model_validate, document)
    found = service.reason.value if isinstance(service, Rejection) else service.grace_period_seconds
    assert found == expected
