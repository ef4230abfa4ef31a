"""`/openapi.json` is a valid document, and it tells the truth."""

import itertools
from typing import Any

import httpx
import jsonschema
import msgspec
import pytest
import uuid_utils.compat
from openapi_spec_validator import OpenAPIV31SpecValidator
from tests.builders import LEAVER

from churn.domain.employee import Employee

#: What a client may count on.
OPERATIONS = {
    ("get", "/livez"),
    ("get", "/readyz"),
    ("get", "/metrics"),
    ("post", "/predict"),
    ("get", "/predictions"),
    ("get", "/predictions/{prediction_id}"),
    ("get", "/v2"),
    ("get", "/v2/health/live"),
    ("get", "/v2/health/ready"),
    ("get", "/v2/models/{name}"),
    ("get", "/v2/models/{name}/ready"),
    ("post", "/v2/models/{name}/infer"),
    ("get", "/v2/models/{name}/versions/{version}"),
    ("get", "/v2/models/{name}/versions/{version}/ready"),
    ("post", "/v2/models/{name}/versions/{version}/infer"),
}
#: Statuses that only some operations of their kind have.
POSSIBLE = {403, 404, 409}


@pytest.fixture(scope="module")
async def document(stranger: httpx.AsyncClient) -> dict[str, Any]:
    """The document, as a stranger may read it."""
    response = await stranger.get("/openapi.json")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/vnd.oai.openapi+json"
    return response.json()


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """`schema`, with a reference that it may be followed."""
    if "$ref" not in schema:
        return schema
    return document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method, path): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method not in {"parameters", "summary", "description"}
    }


def test_is_valid(document: dict[str, Any]) -> None:
    """The document is OpenAPI 3.1."""
    assert document["openapi"].startswith("3.1")
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_names_what_a_client_may_count_on(document: dict[str, Any]) -> None:
    """The operations of the contract are there."""
    assert set(operations(document)) >= OPERATIONS


def test_every_operation_names_its_statuses(document: dict[str, Any]) -> None:
    """Who must sign in may be refused, throttled or put off; a body or a parameter may be wrong; what a path names
    may be missing; and nothing else is said to happen."""
    for (method, path), operation in operations(document).items():
        statuses = {int(status) for status in operation["responses"]}
        expected = {status for status in statuses if status < 300}
        assert len(expected) == 1
        if operation.get("security"):
            expected |= {401, 429, 503}
        if "requestBody" in operation:
            expected |= {413, 415, 422}
        places = {parameter["in"] for parameter in operation.get("parameters", ())}
        if "query" in places:
            expected |= {422}
        if "path" in places:
            expected |= {404}
        if path in {"/readyz", "/v2/health/ready"}:
            expected |= {503}
        assert statuses - POSSIBLE == expected - POSSIBLE, (method, path)
        assert expected <= statuses, (method, path)


def test_every_failure_is_a_problem(document: dict[str, Any]) -> None:
    """All statuses from 400 on are described as problems, but for what an orchestrator is told."""
    for (_, path), operation in operations(document).items():
        for status, response in operation["responses"].items():
            if int(status) >= 400 and path != "/readyz":
                (media_type,) = response["content"]
                assert media_type == "application/problem+json"
                schema = resolved(document, response["content"][media_type]["schema"])
                assert {"type", "title", "status", "detail", "request_id"} <= set(schema["required"])


def test_names_the_headers_of_failures(document: dict[str, Any]) -> None:
    """Where the answer says when to come back, or how to sign in, the document says so."""
    for operation in operations(document).values():
        for status, response in operation["responses"].items():
            names = {name.lower() for name in response.get("headers", {})}
            assert status != "401" or "www-authenticate" in names
            assert status not in {"429", "503"} or "retry-after" in names


async def test_says_who_must_sign_in_and_how(document: dict[str, Any], stranger: httpx.AsyncClient) -> None:
    """Exactly the operations that challenge a stranger are said to need Basic authentication; metrics may."""
    assert document["components"]["securitySchemes"]["basic"]["type"] == "http"
    assert document["components"]["securitySchemes"]["basic"]["scheme"] == "basic"
    for (method, path), operation in operations(document).items():
        response = await stranger.request(method, path.replace("{prediction_id}", str(uuid_utils.compat.uuid7())))
        required = [{}, {"basic": []}] if path == "/metrics" else [{"basic": []}] * (response.status_code == 401)
        assert operation.get("security", []) == required, (method, path)


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    """Each operation has a summary, a tag, and an id of its own; each parameter a description."""
    described = operations(document)
    assert all(operation["summary"] and operation["tags"] for operation in described.values())
    assert len({operation["operationId"] for operation in described.values()}) == len(described)
    for operation in described.values():
        for parameter in operation.get("parameters", ()):
            assert parameter["description"]


def test_the_employee_has_bounds_words_and_examples(document: dict[str, Any]) -> None:
    """Each field of the employee has a French title and description, an example, and the bounds that are enforced."""
    schema = document["components"]["schemas"]["Employee"]
    assert set(schema["required"]) == set(LEAVER)
    assert schema["additionalProperties"] is False
    bounds = {
        "age": (18, 70),
        "revenu_mensuel": (0, 10_000_000),
        "distance_domicile_travail": (0, 20_000),
        "satisfaction_environnement": (1, 4),
        "annees_promo": (0, 60),
        "satisfaction_equilibre": (1, 4),
        "pee": (0, 100),
        "poste_actuel": (0, 60),
        "anciennete": (0, 60),
        "exp_totale": (0, 60),
    }
    for name, field in schema["properties"].items():
        parts = [field, resolved(document, field), *field.get("allOf", ()), *field.get("oneOf", ())]
        parts += [resolved(document, part) for part in parts]

        def said(keyword: str, parts: list[dict[str, Any]] = parts) -> Any:
            return next((part[keyword] for part in parts if keyword in part), None)

        assert said("title")
        assert said("description")
        assert said("examples"), name
        if name in bounds:
            assert (said("minimum"), said("maximum")) == bounds[name]
    assert set(schema["properties"]) == {*LEAVER, "employee_ref"}


def test_the_schema_and_the_decoder_agree(document: dict[str, Any]) -> None:
    """What the published schema accepts is what the service accepts, at and beyond every bound."""
    schema = {"$ref": "#/components/schemas/Employee", "components": document["components"]}
    validator = jsonschema.Draft202012Validator(schema)
    odd = [
        -1,
        0,
        1,
        4,
        5,
        17,
        18,
        60,
        61,
        70,
        71,
        100,
        101,
        20_000,
        20_001,
        10**7,
        10**7 + 1,
        0.5,
        "Oui",
        "oui",
        "",
        None,
    ]
    for name, value in itertools.product([*LEAVER, "employee_ref", "another"], odd):
        employee = LEAVER | {name: value}
        try:
            msgspec.convert(employee, Employee)
        except msgspec.ValidationError:
            accepted = False
        else:
            accepted = True
        assert validator.is_valid(employee) == accepted, (name, value)


async def test_examples_work(document: dict[str, Any], client: httpx.AsyncClient) -> None:
    """The examples of `POST /predict` are valid, answer 200, and what is answered is what the document says."""
    operation = document["paths"]["/predict"]["post"]
    examples = operation["requestBody"]["content"]["application/json"]["schema"]["examples"]
    assert LEAVER in examples
    answer = operation["responses"]["200"]["content"]["application/json"]["schema"] | {
        "components": document["components"]
    }
    for example in examples:
        response = await client.post("/predict", json=example)
        assert response.status_code == 200
        jsonschema.validate(response.json(), answer)


async def test_answers_are_what_the_document_says(document: dict[str, Any], client: httpx.AsyncClient) -> None:
    """A page of the history and a problem fit the schema that is published for them."""

    def schema(path: str, status: int, media_type: str) -> dict[str, Any]:
        response = document["paths"][path]["get"]["responses"][str(status)]
        return response["content"][media_type]["schema"] | {"components": document["components"]}

    await client.post("/predict", json=LEAVER | {"employee_ref": "E-1"})
    page = await client.get("/predictions", params={"limit": 3})
    jsonschema.validate(page.json(), schema("/predictions", 200, "application/json"))
    problem = await client.get("/predictions", params={"limit": 0})
    jsonschema.validate(problem.json(), schema("/predictions", 422, "application/problem+json"))
