"""The schemas of the document: of what is sent as it is read, of what is answered as it is written."""

from collections.abc import Iterable, Iterator
from typing import Any, Final, Literal

from pydantic import TypeAdapter

from ingest.gateway.documentation.declaring import Declaration
from ingest.gateway.documentation.errors import Error
from schemas.decimals import DECIMAL_FORMAT, PLACES_MARK

_COMPONENT: Final = "#/components/schemas/"


class Components:
    """The schemas that declarations need, and each by its model."""

    def __init__(self, declarations: Iterable[Declaration]) -> None:
        wanted: dict[tuple[Any, Literal["validation", "serialization"]], None] = {(Error, "serialization"): None}
        for declaration in declarations:
            if declaration.body is not None:
                wanted[declaration.body.model, "validation"] = None
            wanted |= {(answer.model, "serialization"): None for answer in declaration.answers if answer.model}
        by_model, definitions = TypeAdapter.json_schemas(
            [((model, mode), mode, TypeAdapter(model)) for model, mode in wanted],
            ref_template=_COMPONENT + "{model}",
        )
        self._by_model = {key: untitled(schema) for (key, _), schema in by_model.items()}
        self.schemas: dict[str, Any] = {name: untitled(schema) for name, schema in definitions["$defs"].items()}

    def sent(self, model: Any) -> dict[str, Any]:
        """The schema of a body."""
        return dict(self._by_model[model, "validation"])

    def answered(self, model: Any) -> dict[str, Any]:
        """The schema of an answer."""
        return dict(self._by_model[model, "serialization"])

    def formats(self, schema: dict[str, Any]) -> set[str]:
        """Which of decimals and times a schema holds, at any depth."""
        found = set(_formats(schema))
        return found.union(*(self.formats(self.schemas[name]) for name in references(schema)))


def references(node: Any) -> Iterator[str]:
    """The names of the schemas that a part of the document refers to."""
    if isinstance(node, dict):
        reference = node.get("$ref")
        if isinstance(reference, str) and reference.startswith(_COMPONENT):
            yield reference.removeprefix(_COMPONENT)
    for child in _children(node):
        yield from references(child)


def _formats(node: Any) -> Iterator[str]:
    if isinstance(node, dict) and node.get("format") in ("date-time", DECIMAL_FORMAT):
        yield node["format"]
    for child in _children(node):
        yield from _formats(child)


def _children(node: Any) -> Iterable[Any]:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()


def untitled(schema: Any) -> Any:
    """The schema without the titles that pydantic makes of names, and in JSON Schema's own words throughout."""
    if isinstance(schema, list):
        return [untitled(child) for child in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {key: untitled(value) for key, value in schema.items() if not (key == "title" and isinstance(value, str))}
    if PLACES_MARK in plain:
        plain["multipleOf"] = 10.0 ** -plain.pop(PLACES_MARK)
    if "patternProperties" in plain:
        # The rule of a map's keys: as a pattern of properties it would let all other keys pass.
        ((pattern, values),) = plain.pop("patternProperties").items()
        plain["additionalProperties"] = values
        plain["propertyNames"] = {**plain.get("propertyNames", {}), "pattern": pattern}
    return plain
