"""What a field must be, in words made from its published schema, so that the two always agree."""

from functools import cache
from typing import Any, Final, cast

import msgspec

from churn.domain.language import Language

type Text = dict[Language, str]

MISSING: Final[Text] = {Language.FR: "Champ obligatoire.", Language.EN: "This field is required."}
_NOUNS: Final[dict[str, Text]] = {
    "integer": {Language.FR: "un entier", Language.EN: "an integer"},
    "number": {Language.FR: "un nombre", Language.EN: "a number"},
    "string": {Language.FR: "une chaîne de caractères", Language.EN: "a string"},
    "boolean": {Language.FR: "un booléen", Language.EN: "a boolean"},
    "date": {Language.FR: "une date AAAA-MM-JJ", Language.EN: "a date YYYY-MM-DD"},
}
_NOUN: Final[Text] = {Language.FR: "une valeur permise", Language.EN: "an allowed value"}


@cache
def expectations(model: type) -> dict[str, Text]:
    """What each field of the struct `model` must be, in a sentence, by wire name."""
    return {name: _expectation(schema) for name, schema in schemas(model).items()}


@cache
def schemas(model: type) -> dict[str, dict[str, Any]]:
    """The JSON Schema of each field of the struct `model`, references resolved, by wire name."""
    (schema,), components = msgspec.json.schema_components([model])
    properties = components[schema["$ref"].rpartition("/")[2]]["properties"]
    return {name: _resolved(field, components) for name, field in properties.items()}


def _resolved(schema: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    for reference in [schema, *schema.get("allOf", ())]:
        if "$ref" in reference:
            return cast("dict[str, Any]", components[reference["$ref"].rpartition("/")[2]])
    return schema


def _expectation(schema: dict[str, Any]) -> Text:
    if "enum" in schema:
        values = ", ".join(f"« {value} »" for value in schema["enum"])
        return {Language.FR: f"Doit être l'une des valeurs {values}.", Language.EN: f"Must be one of {values}."}
    noun = _NOUNS.get(schema.get("format", "")) or _NOUNS.get(schema.get("type", ""), _NOUN)
    return {
        language: f"{must} {noun[language]}{_bounds(schema, language)}."
        for language, must in ((Language.FR, "Doit être"), (Language.EN, "Must be"))
    }


def _bounds(schema: dict[str, Any], language: Language) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    shortest, longest = schema.get("minLength"), schema.get("maxLength")
    french = language is Language.FR
    if low is not None and high is not None:
        return f" compris entre {low} et {high}" if french else f" between {low} and {high}"
    if shortest is not None and longest is not None:
        return f" de {shortest} à {longest} caractères" if french else f" of {shortest} to {longest} characters"
    if "pattern" in schema:
        return f" de la forme {schema['pattern']}" if french else f" matching {schema['pattern']}"
    return ""
