"""Everything that goes wrong is an RFC 9457 problem, and none of them tells what was sent."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import httpx
import pytest
import uuid_utils.compat
from litestar import Litestar, get
from sqlalchemy import make_url, text
from tests.builders import LEAVER
from tests.http.problem import problem_of

from churn.adapters.postgres.engine import create_engine
from churn.http.metrics import Metrics
from churn.http.observability import Observed
from churn.http.problems import EXCEPTION_HANDLERS
from churn.settings import Settings

type Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

JSON = {"content-type": "application/json"}
#: A value that no text of ours contains.
SECRET = "qzxjqzxjqzxj"


def body_with(name: str, literal: str) -> bytes:
    """The README's body in which the value of `name` is spelled `literal`."""
    fields = {key: json.dumps(value) for key, value in LEAVER.items()} | {name: literal}
    return ("{" + ",".join(f'"{key}":{value}' for key, value in fields.items()) + "}").encode()


async def post(client: httpx.AsyncClient, content: bytes, **headers: str) -> httpx.Response:
    return await client.post("/predict", content=content, headers=JSON | headers)


@pytest.mark.parametrize(
    "path", ["/predict", "/predictions", f"/predictions/{uuid_utils.compat.uuid7()}"], ids=["predict", "find", "read"]
)
async def test_a_stranger_is_challenged(stranger: httpx.AsyncClient, path: str) -> None:
    """Without credentials every operation on people answers 401 with the challenge of Basic authentication."""
    response = await stranger.request("POST" if path == "/predict" else "GET", path)
    problem_of(response, 401)
    assert response.headers["www-authenticate"] == 'Basic realm="churn", charset="UTF-8"'


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/predictions", "employee_ref"), ("/predictions", "limit"), ("/audit", "cursor"), ("/models/compare", "a"),
        ("/monitoring/drift", "since"), ("/monitoring/performance", "model_version"),
    ],
)  # fmt: skip
async def test_a_parameter_is_given_once(admin: httpx.AsyncClient, path: str, name: str) -> None:
    """Of two values one would count and nobody would know which: the parameter is named, and neither value."""
    query = [(name, SECRET), (name, f"{SECRET}2"), ("language", "x"), ("language", "y")]
    response = await admin.get(path, params=query)
    errors = problem_of(response, 422)["errors"]
    assert {(error["parameter"], error["code"]) for error in errors} == {(name, "duplicate"), ("language", "duplicate")}
    assert SECRET not in response.text


@pytest.mark.parametrize(
    "authorization",
    [
        "Basic", "Basic !!!", "Basic bm9jb2xvbg==", "Basic OnBhc3N3b3Jk", "Basic YW5uZTo=", "Basic //79/A==",
        "Bearer abc", "basic YW5uZTp3cm9uZw==", "Negotiate", "",
    ],
)  # fmt: skip
async def test_a_credential_that_is_none_is_challenged(stranger: httpx.AsyncClient, authorization: str) -> None:
    """Another scheme, broken base64, no colon, no name, no password or no UTF-8: 401, and nothing else."""
    response = await stranger.get("/predictions", headers={"authorization": authorization})
    problem_of(response, 401)
    assert "www-authenticate" in response.headers


async def test_too_many_failures_are_throttled(serve: Serve) -> None:
    """After its failures an account is throttled: 429 and when to come back, even with the right password."""
    async with serve(failed_logins_per_account=2) as client:
        for _ in range(2):
            problem_of(await client.get("/predictions", auth=("root", SECRET)), 401)
        response = await client.get("/predictions", auth=("root", SECRET))
        problem = problem_of(response, 429)
        assert 1 <= int(response.headers["retry-after"]) <= 60
        assert SECRET not in json.dumps(problem)
        assert (await client.get("/predictions")).status_code == 200


@pytest.mark.parametrize("path", ["/nothing", "/predictions/", "/predict/x", "/assets/0/x.js", "//", "/%ff", "/é"])
async def test_an_unknown_path_is_not_found(client: httpx.AsyncClient, path: str) -> None:
    """Where there is nothing, the answer is 404."""
    response = await client.get(path)
    if response.status_code != 200:  # a trailing slash may be forgiven
        problem_of(response, 404)


async def test_an_unknown_id_is_not_found(client: httpx.AsyncClient) -> None:
    """An id that was never given out is 404."""
    problem_of(await client.get(f"/predictions/{uuid_utils.compat.uuid7()}"), 404)


@pytest.mark.parametrize("identifier", ["1", "not-a-uuid", "0" * 300, "%00", "é"])
async def test_what_is_no_id_is_not_found(client: httpx.AsyncClient, identifier: str) -> None:
    """There is nothing under what is no id either."""
    problem_of(await client.get(f"/predictions/{identifier}"), 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/predict", {"OPTIONS", "POST"}),
        ("DELETE", "/predict", {"OPTIONS", "POST"}),
        ("POST", "/predictions", {"GET", "OPTIONS"}),
        ("PUT", "/predictions/01890a5d-ac96-774b-bcce-b302099a8057", {"GET", "OPTIONS"}),
        ("PATCH", "/livez", {"GET", "OPTIONS"}),
        ("POST", "/", {"GET", "OPTIONS"}),
    ],
)
async def test_an_unknown_method_names_the_known_ones(
    client: httpx.AsyncClient, method: str, path: str, allowed: set[str]
) -> None:
    """A method that an address does not know is 405, and `Allow` names those that it knows."""
    response = await client.request(method, path)
    problem_of(response, 405)
    assert {name.strip() for name in response.headers["allow"].split(",")} == allowed


@pytest.mark.parametrize(
    ("path", "allowed"), [("/predict", "OPTIONS, POST"), ("/users", "GET, OPTIONS, POST"), ("/livez", "GET, OPTIONS")]
)
async def test_the_methods_of_an_address_can_be_asked_for(client: httpx.AsyncClient, path: str, allowed: str) -> None:
    """`OPTIONS` names every method of an address."""
    response = await client.options(path)
    assert (response.status_code, response.headers["allow"]) == (204, allowed)


async def test_a_body_may_have_a_mebibyte(client: httpx.AsyncClient) -> None:
    """A body of exactly 1 MiB is read; one byte more is 413."""
    body = json.dumps(LEAVER).encode()
    largest = body + b" " * ((1 << 20) - len(body))
    assert (await post(client, largest)).status_code == 200
    problem_of(await post(client, largest + b" "), 413)


async def test_a_body_in_pieces_is_one_body(client: httpx.AsyncClient) -> None:
    """A body that is sent in chunks is read whole."""

    async def chunks() -> AsyncIterator[bytes]:
        body = json.dumps(LEAVER).encode()
        for start in range(0, len(body), 50):
            yield body[start : start + 50]

    answer = await client.post("/predict", content=chunks(), headers=JSON)
    assert answer.status_code == 200
    assert answer.json()["prediction"] == 1


async def test_a_body_of_unknown_length_is_bounded_too(client: httpx.AsyncClient) -> None:
    """A body that is sent in chunks is refused as soon as it is too large."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(17):
            yield b" " * (1 << 16)

    problem_of(await client.post("/predict", content=chunks(), headers=JSON), 413)


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json-patch",
     "application/json; charset=latin-1", "application/xml", "", "json", "application/*"],
)  # fmt: skip
async def test_only_json_is_read(client: httpx.AsyncClient, content_type: str) -> None:
    """A body that is not announced as JSON in UTF-8 is 415."""
    response = await client.post("/predict", content=json.dumps(LEAVER), headers={"content-type": content_type})
    problem_of(response, 415)


async def test_a_body_without_a_type_is_not_read(client: httpx.AsyncClient) -> None:
    """A body that is not announced at all is 415."""
    problem_of(await client.post("/predict", content=json.dumps(LEAVER).encode()), 415)


@pytest.mark.parametrize(
    ("content", "errors"),
    [
        (b"", {"": "malformed"}),
        (b'{"age":18', {"": "malformed"}),
        (b"\xff\xfe{}", {"": "malformed"}),
        (b"[" * 100_000, {"": "malformed"}),
        (body_with("age", "[" * 50_000 + "]" * 50_000), {"": "malformed"}),
        (body_with("age", "NaN"), {"/age": "invalid"}),
        (body_with("revenu_mensuel", "NaN"), {"/revenu_mensuel": "invalid"}),
        (body_with("revenu_mensuel", "Infinity"), {"/revenu_mensuel": "invalid"}),
        (body_with("revenu_mensuel", "-Infinity"), {"/revenu_mensuel": "invalid"}),
        (body_with("revenu_mensuel", "1e999"), {"/revenu_mensuel": "invalid"}),
        (body_with("age", '"18"'), {"/age": "invalid"}),
        (body_with("revenu_mensuel", '"1500"'), {"/revenu_mensuel": "invalid"}),
        (body_with("age", "true"), {"/age": "invalid"}),
        (body_with("revenu_mensuel", "false"), {"/revenu_mensuel": "invalid"}),
        (body_with("age", "18.5"), {"/age": "invalid"}),
        (body_with("age", "null"), {"/age": "invalid"}),
        (body_with("age", "{}"), {"/age": "invalid"}),
        (body_with("age", "17"), {"/age": "invalid"}),
        (body_with("age", "1" + "0" * 100), {"/age": "invalid"}),
        (body_with("pee", "-9223372036854775809"), {"/pee": "invalid"}),
        (body_with("exp_totale", "1" + "0" * 400), {"/exp_totale": "invalid"}),
        (body_with("heures_supp", '"oui"'), {"/heures_supp": "invalid"}),
        (body_with("employee_ref", '"Anne Dupont"'), {"/employee_ref": "invalid"}),
        (body_with("heures_suppl", '"Oui"'), {"/heures_suppl": "unknown"}),
        (body_with("age", '18,"age":19'), {"/age": "duplicate"}),
        (b"{}", {f"/{name}": "missing" for name in LEAVER}),
        (b"[]", {"": "invalid"}),
        (b"null", {"": "invalid"}),
    ],
    ids=lambda value: value[:40].decode("latin-1") if isinstance(value, bytes) else "",
)
async def test_a_body_that_breaks_the_schema_is_named_field_by_field(
    client: httpx.AsyncClient, content: bytes, errors: dict[str, str]
) -> None:
    """What is wrong with a body is 422, with a JSON Pointer and a code for each error."""
    problem = problem_of(await post(client, content), 422)
    assert {error.get("pointer"): error["code"] for error in problem["errors"]} == errors


async def test_a_misspelt_field_comes_with_a_suggestion(client: httpx.AsyncClient) -> None:
    """The field that was probably meant is suggested."""
    problem = problem_of(await post(client, body_with("heures_suppl", '"Oui"')), 422)
    assert [error.get("suggestion") for error in problem["errors"]] == ["heures_supp"]


@pytest.mark.parametrize("name", [*LEAVER, "employee_ref", "another"])
async def test_no_problem_repeats_what_was_sent(client: httpx.AsyncClient, name: str) -> None:
    """A value that is refused is neither in the answer's body nor in its headers."""
    response = await post(client, body_with(name, json.dumps(f"{SECRET} ")))
    problem_of(response, 422)
    assert SECRET not in response.text + str(response.headers)


async def test_problems_speak_english_too(client: httpx.AsyncClient) -> None:
    """Title, detail and errors are in the language that is asked for, and a cache is told so."""
    french = await post(client, body_with("age", "3"))
    english = await post(client, body_with("age", "3"), **{"accept-language": "en"})
    assert french.json()["errors"][0]["detail"].startswith("Doit être un entier")
    assert english.json()["errors"][0]["detail"] == "Must be an integer between 18 and 70."
    assert (french.json()["title"], english.json()["title"]) == ("Requête invalide", "Invalid request")
    assert "accept-language" in english.headers["vary"].lower()


async def test_a_request_id_of_the_client_is_kept(client: httpx.AsyncClient) -> None:
    """A client's own request id comes back, in the header and in the problem."""
    response = await client.get("/nothing", headers={"x-request-id": "trace-42.a_b"})
    assert problem_of(response, 404)["request_id"] == "trace-42.a_b"


@pytest.mark.parametrize("request_id", ["", "a b", "x" * 65, "{}", "a\tb", "é"])
async def test_a_request_id_that_could_harm_is_replaced(client: httpx.AsyncClient, request_id: str) -> None:
    """What could break a log line is not repeated: the request gets an id of ours."""
    response = await client.get("/nothing", headers={"x-request-id": request_id.encode()})
    assert problem_of(response, 404)["request_id"] != request_id
    assert len(response.headers["x-request-id"]) == 32


async def test_without_a_database_the_service_says_so(serve: Serve, settings: Settings) -> None:
    """While the database cannot be reached, everything that needs it answers 503 and when to come back."""
    nowhere = make_url(settings.database_url).set(database="nowhere").render_as_string(hide_password=False)
    async with serve(database_url=nowhere) as client:
        for response in (
            await client.post("/predict", json=LEAVER),
            await client.get("/predictions"),
            await client.get(f"/predictions/{uuid_utils.compat.uuid7()}"),
        ):
            problem_of(response, 503)
            assert response.headers["retry-after"] == "1"


async def test_a_prediction_that_cannot_be_stored_is_not_answered(serve: Serve, settings: Settings) -> None:
    """A prediction whose commit takes too long, or that finds the queue full, is 503; then all is well again."""
    admin = create_engine(settings.database_url, pool_size=2)
    async with serve(history_flush_timeout=0.3, history_queue_size=2) as client:
        await client.post("/predict", json=LEAVER)
        async with admin.begin() as connection:
            await connection.execute(text("LOCK TABLE prediction IN ACCESS EXCLUSIVE MODE"))
            responses = await asyncio.gather(*(client.post("/predict", json=LEAVER) for _ in range(10)))
        for response in responses:
            problem_of(response, 503)
            assert "retry-after" in response.headers
        assert (await client.post("/predict", json=LEAVER)).status_code == 200
    await admin.dispose()


async def test_what_nobody_expected_tells_nothing() -> None:
    """A failure that is a bug of ours is a 500 without its message, which may quote the request."""

    @get("/", sync_to_thread=False)
    def fail() -> None:
        raise RuntimeError(SECRET)

    app = Observed(Litestar([fail], exception_handlers=EXCEPTION_HANDLERS, logging_config=None), Metrics())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://churn.test") as client:
        response = await client.get("/")
    problem_of(response, 500)
    assert SECRET not in response.text
