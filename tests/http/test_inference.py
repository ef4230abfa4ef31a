"""`/v2`, the Open Inference Protocol: the same predictions, in tensors."""

import json
from collections.abc import Sequence
from typing import Any

import httpx
import jsonschema
import pytest
import uuid_utils.compat
from hypothesis import given
from hypothesis import strategies as st
from open_inference.openapi.client import AsyncOpenInferenceClient
from open_inference.openapi.types.inference_request import InferenceRequest
from open_inference.openapi.types.request_input import RequestInput
from open_inference.openapi.types.request_output import RequestOutput
from open_inference.openapi.types.tensor_data import TensorData
from tests.builders import LEAVER
from tests.http.conftest import Serve
from tests.http.problem import problem_of
from tests.http.test_contract_property import VALUES
from tests.http.test_history import STAYER
from tests.http.test_predict import employees

from churn.domain.employee import FEATURES
from churn.settings import Settings

INFER = "/v2/models/churn/infer"
DATATYPES = {name: "BYTES" if name == "heures_supp" else "FP64" for name in FEATURES} | {"employee_ref": "BYTES"}


def by_feature(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One tensor per feature."""
    return [
        {"name": name, "shape": [len(rows)], "datatype": DATATYPES[name], "data": [row.get(name, "") for row in rows]}
        for name in (*FEATURES, "employee_ref")
    ]


def numbers(row: dict[str, Any], names: Sequence[str] = FEATURES) -> list[float]:
    return [{"Oui": 1.0, "Non": 0.0}.get(row[name], row[name]) for name in names]


def matrix(rows: Sequence[dict[str, Any]], names: Sequence[str] = FEATURES, *, nested: bool = False) -> dict[str, Any]:
    """One tensor of all features, in the order of `names`."""
    data: list[Any] = [numbers(row, names) for row in rows]
    return {
        "name": "input-0",
        "shape": [len(rows), len(names)],
        "datatype": "FP64",
        "parameters": {"columns": ", ".join(names)},
        "data": data if nested else [value for row in data for value in row],
    }


async def infer(client: httpx.AsyncClient, *inputs: dict[str, Any], **members: Any) -> dict[str, dict[str, Any]]:
    """The output tensors by name."""
    response = await client.post(INFER, json={"inputs": inputs} | members)
    assert response.status_code == 200, response.text
    return {output["name"]: output for output in response.json()["outputs"]}


async def refused(client: httpx.AsyncClient, *inputs: Any, **members: Any) -> list[tuple[str, str]]:
    """Where and why an inference request is refused."""
    problem = problem_of(await client.post(INFER, json={"inputs": inputs} | members), 422)
    assert problem["error"].startswith(problem["detail"])
    return [(error["pointer"], error["code"]) for error in problem["errors"]]


@given(rows=st.lists(employees(), min_size=1, max_size=5))
async def test_answers_as_predict_does(client: httpx.AsyncClient, rows: list[dict[str, Any]]) -> None:
    """Each output is that of `POST /predict` for the same employee, whichever way the tensors are laid out."""
    alone = [(await client.post("/predict", json=row)).json() for row in rows]
    for inputs in (by_feature(rows), [matrix(rows)], [matrix(rows, FEATURES[::-1], nested=True)]):
        outputs = await infer(client, *inputs)
        assert outputs["probability"]["data"] == pytest.approx([answer["probability"] for answer in alone], abs=1e-12)
        assert outputs["prediction"]["data"] == [answer["prediction"] for answer in alone]
        assert outputs["risk"]["data"] == [answer["risk"] for answer in alone]
        shares = [{item["feature"]: item["log_odds"] for item in answer["contributions"]} for answer in alone]
        assert outputs["contributions"]["shape"] == [len(rows), len(FEATURES)]
        assert outputs["contributions"]["data"] == pytest.approx([share[name] for share in shares for name in FEATURES])
        outside = [{item["field"] for item in answer["warnings"]} for answer in alone]
        assert outputs["out_of_range"]["data"] == [name in fields for fields in outside for name in FEATURES]


async def test_all_are_remembered(client: httpx.AsyncClient) -> None:
    """`prediction_id` finds each prediction in the history, for the employee and by the account that asked."""
    reference = f"E-{uuid_utils.compat.uuid7().hex}"
    rows = [LEAVER | {"employee_ref": reference}, STAYER]
    for name, identifier in zip(
        (reference, None), (await infer(client, *by_feature(rows)))["prediction_id"]["data"], strict=True
    ):
        remembered = (await client.get(f"/predictions/{identifier}")).json()
        assert remembered["account"] == "anne"
        assert remembered["employee"].get("employee_ref") == name


async def test_echoes_what_the_protocol_echoes(client: httpx.AsyncClient) -> None:
    """The id comes back, and only if one was given; the model is named, with its version."""
    answer = (await client.post(INFER, json={"id": "42", "inputs": [matrix([LEAVER])]})).json()
    assert (answer["id"], answer["model_name"]) == ("42", "churn")
    (version,) = (await client.get("/v2/models/churn")).json()["versions"]
    assert answer["model_version"] == version
    assert "id" not in (await client.post(INFER, json={"inputs": [matrix([LEAVER])]})).json()


async def test_gives_the_outputs_that_are_asked_for(client: httpx.AsyncClient) -> None:
    """`outputs` chooses among them, in its order; one that is not there is refused, with the nearest name."""
    wanted = [{"name": "risk", "parameters": {"binary_data": False}}, {"name": "probability"}]
    assert list(await infer(client, matrix([LEAVER]), outputs=wanted)) == ["risk", "probability"]
    problem = problem_of(
        await client.post(INFER, json={"inputs": [matrix([LEAVER])], "outputs": [{"name": "probabilities"}]}), 422
    )
    (error,) = problem["errors"]
    assert (error["pointer"], error["suggestion"]) == ("/outputs/0/name", "probability")


async def test_tensors_may_be_of_several_kinds(client: httpx.AsyncClient) -> None:
    """Overtime may be words, truth or numbers, a whole number a float, and a matrix stand beside a tensor of text."""
    expected = (await infer(client, *by_feature([LEAVER, STAYER])))["probability"]["data"]
    others = [name for name in FEATURES if name != "heures_supp"]
    words = ["Oui", STAYER["heures_supp"]]
    for datatype, data in (
        ("BYTES", words),
        ("BOOL", [word == "Oui" for word in words]),
        ("BOOL", [1.0 if word == "Oui" else 0.0 for word in words]),
        ("UINT8", [int(word == "Oui") for word in words]),
    ):
        overtime = {"name": "heures_supp", "shape": [2, 1], "datatype": datatype, "data": data}
        assert (await infer(client, matrix([LEAVER, STAYER], others), overtime))["probability"]["data"] == expected
    shared = matrix([LEAVER, STAYER])
    columns = shared.pop("parameters")
    assert (await infer(client, shared, parameters=columns))["probability"]["data"] == expected


async def test_no_employees_are_no_answers(client: httpx.AsyncClient) -> None:
    """Tensors without a row give tensors without a row."""
    outputs = await infer(client, matrix([]))
    assert outputs["probability"] == {"name": "probability", "shape": [0], "datatype": "FP64", "data": []}
    assert outputs["contributions"]["shape"] == [0, 11]


BOTH = [("/inputs/0/data/0", "invalid"), ("/inputs/0/data/1", "invalid")]


def changed(name: str, /, **members: Any) -> list[dict[str, Any]]:
    """The tensors of two employees, with one of them changed."""
    return [tensor | members if tensor["name"] == name else tensor for tensor in by_feature([LEAVER, STAYER])]


@pytest.mark.parametrize(
    ("inputs", "errors"),
    [
        (changed("age", data=[41, 17]), [("/inputs/0/data/1", "invalid")]),
        (changed("age", data=[41, "41"]), [("/inputs/0/data/1", "invalid")]),
        (changed("age", data=[41.5, True]), [("/inputs/0/data/1", "invalid")]),
        (changed("age", data=[41.5, 41]), [("/inputs/0/data/0", "invalid")]),
        (changed("age", datatype="INT8", data=[41, 128]), [("/inputs/0/data/1", "invalid")]),
        (changed("age", datatype="UINT8", data=[-1, 41.0]), [("/inputs/0/data/0", "invalid")]),
        (changed("age", datatype="BOOL", data=[True, 7]), [("/inputs/0/data/1", "invalid")]),
        (changed("age", datatype="BOOL", data=[True, False]), BOTH),
        (changed("age", shape=[3]), [("/inputs/0/data", "invalid")]),
        (changed("age", shape=[2, 2]), [("/inputs/0/shape", "invalid")]),
        (changed("age", shape=[1, 1, 2]), [("/inputs/0/shape", "invalid")]),
        (changed("age", shape=[]), [("/inputs/0/shape", "invalid")]),
        (changed("age", shape=[-1]), [("/inputs/0/shape/0", "invalid")]),
        (changed("age", shape=[2, 1], data=[[17], [18]]), [("/inputs/0/data/0/0", "invalid")]),
        (changed("age", data=[[17], [17]]), BOTH),
        (changed("pee", shape=[1], data=[0]), [("/inputs/7/shape", "invalid")]),
        (changed("pee", datatype="INT65"), [("/inputs/7/datatype", "invalid")]),
        (changed("pee", name="peee"), [("/inputs/7/name", "unknown")]),
        (changed("pee", name="age"), [("/inputs/7", "duplicate")]),
        (changed("pee", parameters={"columns": "pe"}), [("/inputs/7/parameters/columns", "unknown")]),
        (changed("pee", parameters={"columns": ["pee"]}), [("/inputs/7/parameters/columns", "invalid")]),
        (changed("heures_supp", data=["oui", "Oui"]), [("/inputs/4/data/0", "invalid")]),
        (changed("heures_supp", datatype="UINT8", data=[2, 1]), [("/inputs/4/data/0", "invalid")]),
        (changed("employee_ref", data=["", "Anne Dupont"]), [("/inputs/11/data/1", "invalid")]),
        (by_feature([LEAVER])[1:], [("/inputs", "missing")]),
        ([matrix([LEAVER | {"pee": 101}, LEAVER])], [("/inputs/0/data/7", "invalid")]),
        ([matrix([LEAVER, LEAVER | {"pee": 101}])], [("/inputs/0/data/18", "invalid")]),
        ([matrix([LEAVER, LEAVER | {"pee": 0.5}], nested=True)], [("/inputs/0/data/1/7", "invalid")]),
        ([{"name": "age", "shape": [1], "datatype": "FP64"}], [("/inputs/0/data", "missing")]),
        ([], [("/inputs", "invalid")]),
        (["age"], [("/inputs/0", "invalid")]),
    ],
    ids=lambda value: None if isinstance(value, list) and value and isinstance(value[0], tuple) else "",
)  # fmt: skip
async def test_names_what_is_wrong(client: httpx.AsyncClient, inputs: list[Any], errors: list[tuple[str, str]]) -> None:
    """Each element, tensor or name at fault is named by its place in the body, all of one kind at once."""
    assert await refused(client, *inputs) == errors


async def test_never_repeats_a_value(client: httpx.AsyncClient) -> None:
    """What was sent for an employee is in neither form of the error."""
    response = await client.post(INFER, json={"inputs": changed("employee_ref", data=["", "Anne Dupont"])})
    assert "Dupont" not in response.text


async def test_nothing_is_remembered_of_a_request_at_fault(client: httpx.AsyncClient) -> None:
    """One wrong row, wherever it is, and none is stored."""
    reference = f"E-{uuid_utils.compat.uuid7().hex}"
    rows = [LEAVER | {"employee_ref": reference}] * 600
    assert await refused(client, *by_feature([*rows, LEAVER | {"age": 17}])) == [("/inputs/0/data/600", "invalid")]
    assert (await client.get("/predictions", params={"employee_ref": reference})).json()["items"] == []


async def test_at_most_fifty_errors_are_named(client: httpx.AsyncClient) -> None:
    """A hostile body does not choose the size of the answer."""
    assert len(await refused(client, *by_feature([LEAVER | {"age": 17}] * 900))) == 50
    assert len(await refused(client, *by_feature([LEAVER | {"age": "a"}] * 900))) == 50


@pytest.mark.parametrize(
    ("old", "new", "pointer"),
    [
        ('"inputs"', '"id": "1", "id": "2", "inputs"', "/id"),
        ('"shape"', '"shape": [1], "shape"', "/inputs/0/shape"),
        ('"columns"', '"columns": "age", "columns"', "/inputs/0/parameters/columns"),
    ],
)
async def test_a_repeated_member_is_refused(client: httpx.AsyncClient, old: str, new: str, pointer: str) -> None:
    """A key that comes twice is an error, at whatever depth; a colon in a text is none."""
    body = json.dumps({"inputs": [matrix([LEAVER])], "id": "a:b"})
    assert (await client.post(INFER, content=body)).status_code == 200
    problem = problem_of(await client.post(INFER, content=body.replace(old, new, 1)), 422)
    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [(pointer, "duplicate")]


async def test_members_of_other_servers_are_passed_over(client: httpx.AsyncClient) -> None:
    """Parameters and members that only other servers know change nothing."""
    tensor = matrix([LEAVER]) | {"extra": {"a": [1, {"b": 2}]}}
    tensor["parameters"] |= {"content_type": "np", "deep": {"a": 1}}
    assert await infer(client, tensor, parameters={"binary_data_output": True}, extra=1)


async def test_binary_tensors_are_refused_in_words(client: httpx.AsyncClient) -> None:
    """The binary extension, which the server does not name, is refused with what to do instead."""
    headers = {"inference-header-content-length": "2", "content-type": "application/octet-stream"}
    assert (await client.post(INFER, content=b"{}\x00", headers=headers)).status_code == 415
    del headers["content-type"]
    problem = problem_of(await client.post(INFER, content=b"{}\x00", headers=headers), 422)
    assert "binary_data=False" in problem["error"]


@pytest.mark.parametrize("content_type", ["", "application/json", "application/json; charset=utf-8"])
async def test_need_not_say_that_it_is_json(client: httpx.AsyncClient, content_type: str) -> None:
    """Clients of the protocol often name no content type."""
    body = json.dumps({"inputs": [matrix([LEAVER])]}).encode()
    assert (await client.post(INFER, content=body, headers={"content-type": content_type})).status_code == 200


async def test_too_many_employees_are_refused(serve: Serve) -> None:
    """Beyond the most rows the request is 413, with the limit."""
    async with serve(batch_max_rows=3) as client:
        problem = problem_of(await client.post(INFER, json={"inputs": [matrix([LEAVER] * 4)]}), 413)
        assert "3" in problem["error"]
        assert len((await infer(client, matrix([LEAVER] * 3)))["risk"]["data"]) == 3


@pytest.mark.parametrize("path", ["", "/ready", "/infer"])
async def test_only_the_active_version_is_there(client: httpx.AsyncClient, path: str) -> None:
    """The active version can be named in the path; another version or model is 404."""
    (version,) = (await client.get("/v2/models/churn")).json()["versions"]
    body = {"json": {"inputs": [matrix([LEAVER])]}} if path == "/infer" else {}
    method = "POST" if path == "/infer" else "GET"
    for name, status in ((f"churn/versions/{version}", 200), ("churn/versions/1", 404), ("other", 404)):
        response = await client.request(method, f"/v2/models/{name}{path}", **body)
        if status == 404:
            assert problem_of(response, 404)["error"]
        assert response.status_code == status


async def test_needs_an_account_but_for_its_health(client: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
    """A stranger learns whether the service is alive and ready, and nothing else."""
    assert (await stranger.get("/v2/health/live")).json() == {"live": True}
    assert (await stranger.get("/v2/health/ready")).json() == {"live": True, "ready": True}
    for path in ("/v2", "/v2/models/churn", "/v2/models/churn/ready"):
        assert problem_of(await stranger.get(path), 401)["error"]
        assert (await client.get(path)).status_code == 200
    assert problem_of(await stranger.post(INFER, json={}), 401)["error"]


async def test_says_when_it_is_not_ready(settings: Settings, serve: Serve, tmp_path: Any) -> None:
    """Without a model neither the server nor the model is ready, and nothing is answered: 503."""
    (tmp_path / "ACTIVE").write_text("none")
    async with serve(models_dir=str(tmp_path)) as client:
        assert (await client.get("/v2/health/live")).status_code == 200
        for path in ("/v2/health/ready", "/v2/models/churn", "/v2/models/churn/ready"):
            assert problem_of(await client.get(path), 503)["error"]
        assert problem_of(await client.post(INFER, json={"inputs": [matrix([LEAVER])]}), 503)["error"]


async def test_speaks_the_language_that_is_asked_for(client: httpx.AsyncClient) -> None:
    """`error` too is French, or English where that is asked for."""
    french, english = [
        (await client.post(INFER, json={}, headers={"accept-language": language})).json()["error"]
        for language in ("fr", "en")
    ]
    assert french == "Un ou plusieurs champs sont invalides. /inputs : Champ obligatoire."
    assert english == "One or more fields are invalid. /inputs : This field is required."


@given(
    body=st.binary(max_size=60)
    | VALUES.map(lambda value: json.dumps(value).encode())
    | st.lists(VALUES, max_size=2).map(lambda inputs: json.dumps({"inputs": inputs}).encode())
    | st.builds(
        lambda name, value: json.dumps({"inputs": changed("age", **{name: value})}).encode(),
        st.sampled_from(["name", "shape", "datatype", "data", "parameters"]),
        VALUES | st.lists(st.integers() | st.floats(), max_size=3),
    )
)
async def test_any_body_is_answered(client: httpx.AsyncClient, body: bytes) -> None:
    """Any body is answered with tensors or with a problem that has the protocol's member."""
    response = await client.post(INFER, content=body)
    if response.status_code != 200:
        assert problem_of(response, 422)["error"]


async def test_answers_are_what_the_document_says(client: httpx.AsyncClient) -> None:
    """Requests and answers of every kind fit the schemas that are published for them."""
    document = (await client.get("/openapi.json")).json()
    components = {"components": document["components"]}
    operation = document["paths"]["/v2/models/{name}/infer"]["post"]
    body = {"id": "1", "inputs": [matrix([LEAVER], nested=True)], "outputs": [{"name": "risk"}]}
    jsonschema.validate(body, operation["requestBody"]["content"]["application/json"]["schema"] | components)
    for path, answer in {
        "/v2": await client.get("/v2"),
        "/v2/models/{name}": await client.get("/v2/models/churn"),
        "/v2/models/{name}/ready": await client.get("/v2/models/churn/ready"),
        "/v2/models/{name}/infer": await client.post(INFER, json=body),
    }.items():
        (described,) = document["paths"][path].values()
        schema = described["responses"]["200"]["content"]["application/json"]["schema"]
        jsonschema.validate(answer.json(), schema | components)
    problem = operation["responses"]["422"]["content"]["application/problem+json"]["schema"]
    jsonschema.validate((await client.post(INFER, json={})).json(), problem | components)


async def test_the_client_of_the_working_group(client: httpx.AsyncClient) -> None:
    """`open-inference-openapi`, generated from the specification, finds all that it asks for."""
    theirs = AsyncOpenInferenceClient(base_url="http://churn.test", httpx_client=client)
    await theirs.check_server_liveness()
    await theirs.check_server_readiness()
    await theirs.check_model_readiness("churn")
    assert (await theirs.read_server_metadata()).name == "churn"
    metadata = await theirs.read_model_metadata("churn")
    assert metadata.versions
    assert metadata.inputs
    assert [tensor.name for tensor in metadata.inputs] == list(FEATURES)
    await theirs.check_model_version_readiness("churn", metadata.versions[0])
    inputs = [
        RequestInput(
            name=tensor.name,
            shape=[2],
            datatype=tensor.datatype,
            data=TensorData(__root__=[LEAVER[tensor.name], STAYER[tensor.name]]),
        )
        for tensor in metadata.inputs
    ]
    request = InferenceRequest(id="7", inputs=inputs, outputs=[RequestOutput(name="risk")])
    answer = await theirs.model_infer("churn", request=request)
    assert (answer.id, answer.model_version) == ("7", metadata.versions[0])
    (risk,) = answer.outputs
    assert risk.data.__root__ == ["high", "low"]
