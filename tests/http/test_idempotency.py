"""`Idempotency-Key`: a request that is sent again changes things once and is answered the same."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import uuid_utils.compat
from tests.builders import LEAVER
from tests.http.conftest import Serve
from tests.http.problem import problem_of
from tests.http.test_history import STAYER
from tests.http.test_inference import INFER, matrix

from churn.adapters.memory import MemoryClock
from churn.adapters.system_clock import SystemClock

TODAY = SystemClock().now().date().isoformat()


def new_key() -> str:
    return str(uuid_utils.compat.uuid7())


async def predicted(client: httpx.AsyncClient, **changes: Any) -> str:
    """The id of a new prediction."""
    return (await client.post("/predict", json=LEAVER | changes)).json()["id"]


async def again(
    client: httpx.AsyncClient, path: str, body: object, key: str, /, auth: Any = None, **headers: str
) -> httpx.Response:
    headers |= {"idempotency-key": key, "content-type": "application/json"}
    return await client.post(path, content=json.dumps(body), headers=headers, **({"auth": auth} if auth else {}))


#: Of each route that writes: a path and a body, once there is a prediction.
WRITES: dict[str, Callable[[str, str], tuple[str, object]]] = {
    "predict": lambda _, ref: ("/predict", LEAVER | {"employee_ref": ref}),
    "batch": lambda _, ref: ("/predict/batch", [LEAVER | {"employee_ref": ref}, {}, STAYER]),
    "infer": lambda _, ref: (INFER, {"id": ref, "inputs": [matrix([LEAVER])]}),
    "outcome": lambda made, _: (f"/predictions/{made}/outcome", {"left": True, "observed_on": TODAY}),
    "outcomes": lambda made, _: ("/outcomes", [{"prediction_id": made, "left": True, "observed_on": TODAY}]),
    "review": lambda made, _: (f"/predictions/{made}/review", {"decision": "accepted", "reason": "Entretien."}),
}


async def write(client: httpx.AsyncClient, route: str) -> tuple[str, object]:
    return WRITES[route](await predicted(client), f"E-{uuid_utils.compat.uuid7().hex}")


@pytest.mark.parametrize("route", WRITES)
async def test_the_same_request_is_answered_the_same(client: httpx.AsyncClient, serve: Serve, route: str) -> None:
    """Byte for byte, and marked as such, also by a process that has started since: the answer may have been lost."""
    path, body = await write(client, route)
    key = new_key()
    first = await again(client, path, body, key)
    assert first.status_code == 200, first.text
    assert "idempotency-replayed" not in first.headers
    async with serve() as restarted:
        for other in (client, restarted):
            second = await again(other, path, body, key)
            assert (second.status_code, second.content) == (200, first.content)
            assert second.headers["idempotency-replayed"] == "true"
            assert second.headers["content-type"] == first.headers["content-type"]


@pytest.mark.parametrize("route", WRITES)
async def test_another_request_under_the_key_is_refused(client: httpx.AsyncClient, route: str) -> None:
    """Another body, or another path, under the key is 422; another account's key is another key."""
    path, body = await write(client, route)
    key = new_key()
    await again(client, path, body, key)
    for refused in (await again(client, path, [body, body], key), await again(client, "/predict", STAYER, key)):
        assert refused.status_code == 422
    problem = problem_of(await again(client, "/predict", STAYER, key), 422)
    assert [error["code"] for error in problem["errors"]] == ["key-reused"]


async def test_keys_of_accounts_do_not_meet(client: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    """The same key of another account is another key."""
    key = new_key()
    ours, theirs = [(await again(who, "/predict", LEAVER, key)).json()["id"] for who in (client, admin)]
    assert ours != theirs


@pytest.mark.parametrize(("route", "rows"), [("predict", 1), ("batch", 1)])
async def test_there_is_no_second_row(client: httpx.AsyncClient, serve: Serve, route: str, rows: int) -> None:
    """However many come at once, in however many processes, the history has one of each and all get one answer."""
    path, body = await write(client, route)
    reference = (body[0] if isinstance(body, list) else body)["employee_ref"]  # type: ignore[index]
    key = new_key()
    async with serve() as other:
        answers = await asyncio.gather(*(again((client, other)[n % 2], path, body, key) for n in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert sorted(answer.headers.get("idempotency-replayed", "") for answer in answers) == ["", *["true"] * 7]
    found = (await client.get("/predictions", params={"employee_ref": reference})).json()["items"]
    assert len(found) == rows


async def test_a_late_repetition_does_not_undo_what_came_between(client: httpx.AsyncClient) -> None:
    """An outcome that is said again under its key does not replace a newer one; without the key it would."""
    made = await predicted(client)
    path, key = f"/predictions/{made}/outcome", new_key()
    first = await again(client, path, {"left": True, "observed_on": TODAY}, key)
    await client.post(path, json={"left": False, "observed_on": TODAY})
    second = await again(client, path, {"left": True, "observed_on": TODAY}, key)
    assert second.json() == first.json()
    outcomes = (await client.get(f"/predictions/{made}")).json()["outcomes"]
    assert [outcome["left"] for outcome in outcomes] == [False, True]


async def test_what_was_refused_may_be_corrected_under_the_same_key(client: httpx.AsyncClient) -> None:
    """Only a success is kept."""
    key = new_key()
    problem_of(await again(client, "/predict", LEAVER | {"age": 17}, key), 422)
    problem_of(
        await again(client, f"/predictions/{new_key()}/review", {"decision": "accepted", "reason": "R"}, key), 404
    )
    assert (await again(client, "/predict", LEAVER, key)).status_code == 200


async def test_a_failure_after_the_rows_undoes_them(
    client: httpx.AsyncClient, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows and the answer are one transaction: if the answer cannot be made, nothing is stored."""
    reference, key = f"E-{uuid_utils.compat.uuid7().hex}", new_key()

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr("churn.http.idempotency.msgspec.json.encode", fail)
        with pytest.raises(Exception):  # noqa: B017, PT011 - the problem cannot be encoded either
            await again(client, "/predict", LEAVER | {"employee_ref": reference}, key)
    parameters = {"employee_ref": reference}
    assert (await client.get("/predictions", params=parameters)).json()["items"] == []
    assert (await again(client, "/predict", LEAVER | parameters, key)).status_code == 200
    assert len((await client.get("/predictions", params=parameters)).json()["items"]) == 1


async def test_keys_expire(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its lifetime a key is as good as new."""
    clock = MemoryClock(SystemClock().now())
    monkeypatch.setattr("churn.adapters.system_clock.SystemClock.now", lambda _: clock.now())
    async with serve(idempotency_lifetime=600.0) as client:
        key = new_key()
        first = (await again(client, "/predict", LEAVER, key)).json()["id"]
        clock.advance(599)
        assert (await again(client, "/predict", LEAVER, key)).json()["id"] == first
        clock.advance(2)
        assert (await again(client, "/predict", LEAVER, key)).json()["id"] != first


async def test_erasing_a_person_erases_the_answers(client: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    """The answer is gone, as the person is; the key is not, so nothing is stored anew."""
    reference, key = f"E-{uuid_utils.compat.uuid7().hex}", new_key()
    assert (await again(client, "/predict", LEAVER | {"employee_ref": reference}, key)).status_code == 200
    (await admin.delete(f"/employees/{reference}")).raise_for_status()
    problem = problem_of(await again(client, "/predict", LEAVER | {"employee_ref": reference}, key), 409)
    assert [error["code"] for error in problem["errors"]] == ["answer-erased"]


@pytest.mark.parametrize("key", ["", "a b", '"', '"a', "x" * 256, "é", "a\tb"])
async def test_a_key_that_is_none_is_refused(client: httpx.AsyncClient, key: str) -> None:
    """A key that cannot be one is 422, rather than passed over."""
    headers = [(b"idempotency-key", key.encode("latin-1"))]
    problem = problem_of(await client.post("/predict", json=LEAVER, headers=headers), 422)
    assert [error["parameter"] for error in problem["errors"]] == ["Idempotency-Key"]


async def test_several_keys_are_none(client: httpx.AsyncClient) -> None:
    """Which of two keys is meant cannot be told."""
    headers = [(b"idempotency-key", b"a"), (b"idempotency-key", b"a")]
    problem_of(await client.post("/predict", json=LEAVER, headers=headers), 422)


async def test_a_key_may_have_quotation_marks(client: httpx.AsyncClient) -> None:
    """As the draft writes it, or bare as most clients do, it is the same key."""
    key = new_key()
    first, second = [(await again(client, "/predict", LEAVER, text)).json()["id"] for text in (key, f'"{key}"')]
    assert first == second


async def test_the_document_names_the_header(client: httpx.AsyncClient) -> None:
    """Each route that heeds it says so."""
    paths = (await client.get("/openapi.json")).json()["paths"]
    heeding = {
        path
        for path, item in paths.items()
        if any(parameter["name"] == "Idempotency-Key" for parameter in item.get("post", {}).get("parameters", ()))
    }
    assert heeding == {
        "/predict",
        "/predict/batch",
        "/outcomes",
        "/predictions/{prediction_id}/outcome",
        "/predictions/{prediction_id}/review",
        "/v2/models/{name}/infer",
        "/v2/models/{name}/versions/{version}/infer",
    }
