"""Whatever is sent, the answer is what the contract knows: a success or a problem, and never a failure of ours."""

import json
from urllib.parse import quote, quote_from_bytes
from uuid import UUID

import httpx
from hypothesis import example, given
from hypothesis import strategies as st
from tests.builders import LEAVER
from tests.http.problem import problem_of

NAMES = st.sampled_from([*LEAVER, "employee_ref", "heures_suppl"]) | st.text(max_size=10)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)
#: Bodies of every kind: noise, any JSON, and employees of which one field is any value.
BODIES = (
    st.binary(max_size=200)
    | VALUES.map(lambda value: json.dumps(value).encode())
    | st.builds(lambda name, value: json.dumps(LEAVER | {name: value}).encode(), NAMES, VALUES)
)
HEADER_VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=40)
HEADERS = st.dictionaries(
    st.sampled_from(["accept", "accept-language", "accept-encoding", "authorization", "content-type", "cookie",
                     "content-encoding", "expect", "host", "if-match", "origin", "range", "x-forwarded-for",
                     "x-http-method-override", "x-request-id"]),
    HEADER_VALUES | st.sampled_from(["application/json", "application/json; charset=utf-16", "*/*", "en", "Basic x"]),
    max_size=4,
)  # fmt: skip
PARAMETERS = st.lists(
    st.tuples(
        st.sampled_from(
            ["since", "until", "model_version", "prediction", "employee_ref", "account", "cursor", "limit", "format"]
        )
        | st.text(max_size=5),
        st.text(max_size=30)
        | st.integers().map(str)
        | st.floats().map(str)
        | st.datetimes(timezones=st.none() | st.timezones()).map(lambda moment: moment.isoformat())
        | st.uuids().map(str),
    ),
    max_size=4,
)


def check(response: httpx.Response) -> None:
    if response.status_code != 200:
        assert response.status_code < 500, response.text
        problem_of(response, response.status_code)


def raw(headers: dict[str, str]) -> dict[bytes, bytes]:
    return {name.encode(): value.encode("latin-1") for name, value in headers.items()}


@given(body=BODIES)
async def test_any_body_is_answered(client: httpx.AsyncClient, body: bytes) -> None:
    """Any body gives a prediction or a problem."""
    check(await client.post("/predict", content=body, headers={"content-type": "application/json"}))


@given(
    body=BODIES
    | st.lists(VALUES, max_size=3).map(lambda value: json.dumps(value).encode())
    | st.text(max_size=40).map(str.encode),
    media_type=st.sampled_from(["application/json", "text/csv"]),
    path=st.sampled_from(["outcomes", f"predictions/{UUID(int=7)}/outcome", f"predictions/{UUID(int=7)}/review"]),
)
async def test_any_follow_up_is_answered(client: httpx.AsyncClient, body: bytes, media_type: str, path: str) -> None:
    """Any body, of either format, is recorded or gives a problem."""
    check(await client.post(f"/{path}", content=body, headers={"content-type": media_type}))


@given(reference=st.text(max_size=70), method=st.sampled_from(["GET", "DELETE"]))
async def test_any_pseudonym_is_answered(admin: httpx.AsyncClient, reference: str, method: str) -> None:
    """Of nobody there is nothing, however the pseudonym is spelled."""
    path = "" if method == "DELETE" else "/export"
    check(await admin.request(method, f"/employees/{quote(reference, safe='')}{path}"))


@given(
    parameters=st.lists(
        st.tuples(st.sampled_from(["cursor", "limit"]), st.text(max_size=20) | st.integers().map(str)), max_size=3
    )
)
async def test_any_look_at_the_audit_is_answered(admin: httpx.AsyncClient, parameters: list[tuple[str, str]]) -> None:
    """Any query gives a page of the trail or a problem."""
    check(await admin.get("/audit", params=parameters))


@given(headers=HEADERS, body=st.just(json.dumps(LEAVER).encode()) | st.binary(max_size=20))
@example(headers={"host": ""}, body=b"")
@example(headers={"host": "churn.test/path:port"}, body=b"")
async def test_any_header_is_answered(client: httpx.AsyncClient, headers: dict[str, str], body: bytes) -> None:
    """Any headers give a prediction or a problem."""
    check(await client.post("/predict", content=body, headers=raw(headers)))


@given(parameters=PARAMETERS)
async def test_any_query_is_answered(client: httpx.AsyncClient, parameters: list[tuple[str, str]]) -> None:
    """Any query gives a page of the history or a problem."""
    check(await client.get("/predictions", params=parameters))


@given(headers=HEADERS)
async def test_any_header_of_a_query_is_answered(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    """Any headers give the history, in some format, or a problem."""
    check(await client.get("/predictions", params={"account": "nobody"}, headers=raw(headers)))


@given(query=st.binary(max_size=40))
async def test_any_bytes_as_a_query_are_answered(client: httpx.AsyncClient, query: bytes) -> None:
    """Bytes that are no query string, nor UTF-8, give a page of the history or a problem."""
    check(await client.get(f"/predictions?{quote_from_bytes(query, safe='=&;+')}"))


@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"]),
    path=st.text(max_size=30)
    | st.text(max_size=20).map(lambda text: f"predictions/{text}")
    | st.sampled_from(
        [
            "",
            "predict",
            "predict/batch",
            "predictions",
            "outcomes",
            "livez",
            "readyz",
            "metrics",
            "openapi.json",
            "docs",
        ]
    ),
)
async def test_any_address_is_answered(client: httpx.AsyncClient, method: str, path: str) -> None:
    """Any method on any path is a success, a redirection or a problem."""
    response = await client.request(method, f"/{quote(path)}", auth=None)
    if method == "HEAD" or response.status_code < 400:
        assert response.status_code < 500
    else:
        problem_of(response, response.status_code)
