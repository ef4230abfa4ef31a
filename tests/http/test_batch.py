"""`POST /predict/batch`: many employees, each answered as `POST /predict` would."""

import csv
import io
import itertools
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any
from uuid import UUID

import httpx
import jsonschema
import pytest
import uuid_utils.compat
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from tests.builders import LEAVER
from tests.http.conftest import Serve
from tests.http.problem import problem_of
from tests.http.test_contract_property import VALUES
from tests.http.test_history import STAYER
from tests.http.test_predict import employees

from churn.adapters.postgres.engine import create_engine
from churn.settings import Settings

JSON, NDJSON = "application/json", "application/x-ndjson"


def written(rows: Iterable[object], media_type: str) -> bytes:
    lines = [json.dumps(row).encode() for row in rows]
    return b"\n".join(lines) if media_type == NDJSON else b"[" + b",".join(lines) + b"]"


async def post(client: httpx.AsyncClient, content: object, media_type: str, **headers: str) -> httpx.Response:
    return await client.post("/predict/batch", content=content, headers={"content-type": media_type, **headers})


async def predict_alone(client: httpx.AsyncClient, row: object) -> httpx.Response:
    return await client.post("/predict", content=json.dumps(row), headers={"content-type": JSON})


def read(response: httpx.Response, media_type: str) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == media_type
    return [json.loads(line) for line in response.text.splitlines()] if media_type == NDJSON else response.json()


async def predict(client: httpx.AsyncClient, rows: Iterable[object], media_type: str = NDJSON, **headers: str) -> Any:
    return read(await post(client, written(rows, media_type), media_type, **headers), media_type)


def without_id(answer: dict[str, Any]) -> dict[str, Any]:
    assert UUID(answer["id"]).version == 7
    return answer | {"id": None}


@pytest.mark.parametrize("media_type", [JSON, NDJSON])
@given(rows=st.lists(employees(), max_size=6))
async def test_answers_each_as_it_would_alone(
    client: httpx.AsyncClient, media_type: str, rows: list[dict[str, Any]]
) -> None:
    """The answer has one item per employee, in their order, equal to the one that `POST /predict` gives."""
    answers = await predict(client, rows, media_type)
    alone = [(await client.post("/predict", json=row)).json() for row in rows]
    assert len(answers) == len(alone)
    for ours, theirs in zip(answers, alone, strict=True):
        assert ours["probability"] == pytest.approx(theirs["probability"], abs=1e-12)
        assert without_id(ours) | {"probability": 0} == without_id(theirs) | {"probability": 0}


@pytest.mark.parametrize("media_type", [JSON, NDJSON])
async def test_a_whole_workforce_is_answered_in_order(client: httpx.AsyncClient, media_type: str) -> None:
    """Ten thousand employees get ten thousand answers, in their order, under ids of their own."""
    rows = [LEAVER | {"revenu_mensuel": 1000 + number} for number in range(10_000)]
    answers = await predict(client, rows, media_type)
    assert [
        next(item["value"] for item in answer["contributions"] if item["feature"] == "revenu_mensuel")
        for answer in answers
    ] == [row["revenu_mensuel"] for row in rows]
    assert len({answer["id"] for answer in answers}) == 10_000


@pytest.mark.parametrize("media_type", [JSON, NDJSON])
async def test_a_row_at_fault_does_not_lose_the_others(client: httpx.AsyncClient, media_type: str) -> None:
    """In the place of a row that is no employee stands what is wrong with it, as `POST /predict` says it."""
    wrong: list[Any] = [
        LEAVER | {"age": 17, "heures_suppl": "Oui", "pee": "0"},
        {},
        LEAVER | {"employee_ref": "Anne Dupont"},
        [],
        None,
    ]
    rows = [LEAVER, wrong[0], STAYER, *wrong[1:], LEAVER]
    answers = await predict(client, rows, media_type)
    assert [answer.get("prediction") for answer in answers] == [1, None, 0, None, None, None, None, 1]
    for number in (1, 3, 4, 5, 6):
        alone = problem_of(await predict_alone(client, rows[number]), 422)
        assert answers[number] == {"row": number, "errors": alone["errors"]}
    assert "Dupont" not in json.dumps(answers)


@pytest.mark.parametrize(
    ("line", "pointer", "code"),
    [
        (b'{"age": 18', "", "malformed"),
        (b"\xff", "", "malformed"),
        (json.dumps(LEAVER).encode()[:-1] + b', "age": 18}', "/age", "duplicate"),
        (json.dumps(LEAVER).replace("18", "NaN", 1).encode(), "/age", "invalid"),
        (b"{}" + b" " * 20_000, "", "too-long"),
        (b"[" * 10_000, "", "malformed"),
        (json.dumps(LEAVER).encode() * 2, "", "malformed"),
    ],
)
async def test_a_line_that_is_hardly_json_is_a_row_at_fault(
    client: httpx.AsyncClient, line: bytes, pointer: str, code: str
) -> None:
    """A line that is not JSON, or has a key twice, is answered in its place; what follows is not mistaken for it."""
    good = json.dumps(LEAVER).encode()
    first, middle, last = read(await post(client, b"\n".join([good, line, good]), NDJSON), NDJSON)
    assert (first["prediction"], last["prediction"]) == (1, 1)
    assert middle["row"] == 1
    assert (pointer, code) in {(error["pointer"], error["code"]) for error in middle["errors"]}


async def test_lines_that_are_wrong_apart_and_right_together_are_refused(client: httpx.AsyncClient) -> None:
    """A row is a line: two halves of an object are two rows at fault."""
    whole = json.dumps(LEAVER).encode()
    half = whole.index(b",")
    body = b"\n".join([whole + b"," + whole[: half + 1], whole[half + 1 :]])
    assert ["errors" in answer for answer in read(await post(client, body, NDJSON), NDJSON)] == [True, True]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "malformed"),
        (b"[" + b"{}", "malformed"),
        (b"{}", "invalid"),
        (b"[NaN]", "malformed"),
        (b"null", "invalid"),
    ],
)
async def test_what_is_no_list_is_refused_as_a_whole(client: httpx.AsyncClient, body: bytes, code: str) -> None:
    """A JSON body that is not a list of anything has no rows to answer: 422."""
    problem = problem_of(await post(client, body, JSON), 422)
    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [("", code)]


@pytest.mark.parametrize(
    ("body", "count"), [(b"", 0), (b"\n \r\n\n", 0), (b"%s\n", 1), (b"\n%s\r\n\n%s", 2), (b"  %s  \n", 1)]
)
async def test_empty_lines_are_passed_over(client: httpx.AsyncClient, body: bytes, count: int) -> None:
    """NDJSON may end with a line break or not, and have empty lines, also none but those."""
    line = json.dumps(LEAVER).encode()
    assert len(read(await post(client, body.replace(b"%s", line), NDJSON), NDJSON)) == count


async def test_no_rows_are_no_answers(client: httpx.AsyncClient) -> None:
    """An empty list is answered with one."""
    assert await predict(client, [], JSON) == []


@given(cuts=st.lists(st.integers(0, 2000), max_size=8))
async def test_a_body_may_come_in_any_pieces(client: httpx.AsyncClient, cuts: list[int]) -> None:
    """Wherever the network cuts the body, the rows are the same."""
    body = written([LEAVER | {"age": 20 + n, "employee_ref": "é" if n == 2 else "E"} for n in range(5)], NDJSON)

    async def pieces() -> AsyncIterator[bytes]:
        bounds = [0, *sorted(cuts), len(body)]
        for start, end in itertools.pairwise(bounds):
            yield body[start:end]

    answers = read(await post(client, pieces(), NDJSON), NDJSON)
    assert ["errors" in answer for answer in answers] == [False, False, True, False, False]


async def test_speaks_the_language_that_is_asked_for(client: httpx.AsyncClient) -> None:
    """Messages, sentences and errors are in English where that is asked for."""
    right, wrong = await predict(client, [LEAVER, {}], **{"accept-language": "en"})
    assert right["message"] == "High risk of leaving"
    assert wrong["errors"][0]["detail"] == "This field is required."


async def test_all_are_remembered(client: httpx.AsyncClient) -> None:
    """Each answer can be read again by its id, and is equal."""
    reference = f"E-{uuid_utils.compat.uuid7().hex}"
    answers = await predict(client, [LEAVER | {"employee_ref": reference}, STAYER | {"employee_ref": reference}])
    page = (await client.get("/predictions", params={"employee_ref": reference})).json()["items"]
    found = {item["id"]: item for item in page}
    assert len(found) == 2
    for answer in answers:
        assert found[answer["id"]] | answer == found[answer["id"]]
        assert found[answer["id"]]["account"] == "anne"


async def test_all_are_remembered_in_one_transaction(client: httpx.AsyncClient, settings: Settings) -> None:
    """The rows of one request have one PostgreSQL transaction between them."""
    reference = f"E-{uuid_utils.compat.uuid7().hex}"
    await predict(client, [LEAVER | {"employee_ref": reference}] * 3000)
    engine = create_engine(settings.database_url, pool_size=2)
    async with engine.connect() as connection:
        transactions = await connection.scalars(
            text("SELECT count(*) FROM prediction WHERE employee_ref = :ref GROUP BY xmin").bindparams(ref=reference)
        )
        assert transactions.all() == [3000]
    await engine.dispose()


async def test_the_metrics_count_every_row(client: httpx.AsyncClient) -> None:
    """The count of predictions grows by the rows that were scored, and by no other."""

    async def count() -> float:
        lines = (await client.get("/metrics")).text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("churn_prediction_probability_count"))

    before = await count()
    await predict(client, [LEAVER, {}, STAYER])
    assert await count() - before == 2


@pytest.mark.parametrize("media_type", ["text/plain", "application/json; charset=latin-1", "", "application/ndjsonx"])
async def test_another_format_is_refused(client: httpx.AsyncClient, media_type: str) -> None:
    """Any other content type is 415."""
    problem_of(await post(client, b"[]", media_type), 415)


@pytest.mark.parametrize("media_type", [JSON, NDJSON])
async def test_too_many_rows_are_refused(serve: Serve, media_type: str) -> None:
    """Beyond the most rows the whole request is 413, the limit is named, and nothing is stored."""
    reference = f"E-{uuid_utils.compat.uuid7().hex}"
    rows = [LEAVER | {"employee_ref": reference}] * 601
    async with serve(batch_max_rows=600) as client:
        problem = problem_of(await post(client, written(rows, media_type), media_type), 413)
        assert problem["errors"][0]["code"] == "too-many-rows"
        assert "600" in problem["errors"][0]["detail"]
        assert (await client.get("/predictions", params={"employee_ref": reference})).json()["items"] == []
        assert len(await predict(client, rows[:600], media_type)) == 600


async def test_too_many_bytes_are_refused(serve: Serve) -> None:
    """A body beyond the batch's own limit is 413 before it has come to its end, and the limit is named."""

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 1000

    async with serve(batch_max_body_size=50_000, max_body_size=2000) as client:
        problem = problem_of(await post(client, endless(), NDJSON), 413)
        assert problem["errors"][0]["code"] == "too-many-bytes"
        assert "50000" in problem["errors"][0]["detail"]
        assert len(await predict(client, [LEAVER] * 100)) == 100


async def test_no_more_at_once_than_allowed(serve: Serve) -> None:
    """A request beyond those that may be under way is 503 with `Retry-After`; once one has ended the next is fine."""
    async with serve(batch_concurrency=1) as client:
        refused: list[httpx.Response] = []

        async def body() -> AsyncIterator[bytes]:
            yield json.dumps(LEAVER).encode()
            refused.append(await post(client, b"", NDJSON))

        assert (await post(client, body(), NDJSON)).status_code == 200
        problem_of(refused[0], 503)
        assert (await post(client, b"", NDJSON)).status_code == 200


def csv_of(rows: Iterable[dict[str, Any]], delimiter: str = ",") -> bytes:
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, [*LEAVER, "employee_ref"], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


async def predict_csv(client: httpx.AsyncClient, content: bytes, delimiter: str = ",") -> list[dict[str, str]]:
    response = await post(client, content, "text/csv; charset=utf-8")
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(response.content.decode(), newline=""), delimiter=delimiter, strict=True))


@pytest.mark.parametrize("delimiter", [",", ";"])
@given(rows=st.lists(employees(), min_size=1, max_size=4))
async def test_csv_says_what_json_says(client: httpx.AsyncClient, delimiter: str, rows: list[dict[str, Any]]) -> None:
    """A CSV of employees is answered by a CSV, separated alike, with the numbers of the JSON answer to the last bit."""
    in_json = await predict(client, rows, JSON)
    in_csv = await predict_csv(client, csv_of(rows, delimiter), delimiter)
    assert [line["row"] for line in in_csv] == [str(number) for number in range(len(rows))]
    for line, answer in zip(in_csv, in_json, strict=True):
        for name in ("probability", "threshold", "intercept"):
            assert float(line[name]) == answer[name]
        for item in answer["contributions"]:
            assert float(line[f"log_odds_{item['feature']}"]) == item["log_odds"]
        assert (line["prediction"], line["risk"]) == (str(answer["prediction"]), answer["risk"])
        assert (line["message"], line["model_version"]) == (answer["message"], answer["model_version"])
        assert line["warnings"].split() == [warning["field"] for warning in answer["warnings"]]
        assert line["errors"] == ""


async def test_csv_as_spreadsheets_write_it(client: httpx.AsyncClient) -> None:
    """A byte order mark, another order, spaces, quotes, blank lines, 18.0 and a decimal comma are all fine."""
    titles = list(LEAVER)[::-1]
    cells = {**LEAVER, "exp_totale": "5,5", "age": " 18.0 ", "heures_supp": '"Oui"', "revenu_mensuel": "1.5e3"}
    content = "\ufeff" + "\r\n".join([";".join(titles), "", ";".join(str(cells[title]) for title in titles), ""])
    (line,) = await predict_csv(client, content.encode(), ";")
    (same,) = await predict(client, [LEAVER | {"exp_totale": 5.5}])
    assert float(line["probability"]) == same["probability"]


async def test_a_line_of_csv_at_fault_does_not_lose_the_others(client: httpx.AsyncClient) -> None:
    """A line with a wrong value, with too few or too many cells, or with a wrong quote is answered in its place."""
    titles, good = ",".join(LEAVER), ",".join(map(str, LEAVER.values()))
    wrong = [good.replace("18", "17", 1), good + ",1", "18", good.replace("18", "NaN", 1), good.replace("18", "", 1)]
    lines = await predict_csv(client, "\n".join([titles, good, *wrong, good.replace("18", '"18"x', 1), good]).encode())
    assert [line["prediction"] for line in lines] == ["1", *[""] * 6, "1"]
    errors = [line["errors"] for line in lines[1:-1]]
    assert errors[0] == errors[3] == "/age: Doit être un entier compris entre 18 et 70."
    assert errors[1] == errors[2] == "Doit avoir autant de cellules que de titres."
    assert errors[4] == "/age: Champ obligatoire."
    assert errors[5].startswith("Le corps n'est pas du CSV")


@pytest.mark.parametrize(
    ("content", "pointer", "code"),
    [
        (b"", "", "malformed"),
        (b"\xff\xfe", "", "malformed"),
        (csv_of([]).replace(b"age,", b"", 1), "/age", "missing"),
        (csv_of([]).replace(b"heures_supp", b"heures_suppl"), "/heures_suppl", "unknown"),
        (csv_of([]).replace(b"age,", b"age,age,", 1), "/age", "duplicate"),
    ],
)
async def test_titles_at_fault_are_refused_as_a_whole(
    client: httpx.AsyncClient, content: bytes, pointer: str, code: str
) -> None:
    """A CSV whose titles are not the fields has no rows that could be understood: 422."""
    problem = problem_of(await post(client, content, "text/csv"), 422)
    assert (pointer, code) in {(error["pointer"], error["code"]) for error in problem["errors"]}


async def test_a_csv_without_lines_has_no_answers(client: httpx.AsyncClient) -> None:
    """Titles alone are answered by titles alone."""
    assert await predict_csv(client, csv_of([])) == []


async def test_needs_an_account(stranger: httpx.AsyncClient) -> None:
    """Nobody is answered without a password."""
    problem_of(await post(stranger, b"[]", JSON), 401)


@given(
    body=st.binary(max_size=200)
    | st.lists(VALUES, max_size=4).map(lambda rows: written(rows, JSON))
    | st.lists(VALUES, max_size=4).map(lambda rows: written(rows, NDJSON))
    | st.lists(st.text(max_size=20)).map(
        lambda lines: "\n".join([",".join(LEAVER), *lines]).encode("utf-8", "replace")
    ),
    media_type=st.sampled_from([JSON, NDJSON, "text/csv"]),
)
async def test_any_body_is_answered(client: httpx.AsyncClient, body: bytes, media_type: str) -> None:
    """Any body gives an answer per row or a problem."""
    response = await post(client, body, media_type)
    if response.status_code == 200:
        if media_type != "text/csv":
            read(response, media_type)
    else:
        problem_of(response, 422)


async def test_answers_are_what_the_document_says(client: httpx.AsyncClient) -> None:
    """An answer, with a row at fault in it, fits the schema that is published for it."""
    document = (await client.get("/openapi.json")).json()
    operation = document["paths"]["/predict/batch"]["post"]
    assert set(operation["requestBody"]["content"]) == set(operation["responses"]["200"]["content"])
    components = {"components": document["components"]}
    jsonschema.validate([LEAVER], operation["requestBody"]["content"][JSON]["schema"] | components)
    schema = operation["responses"]["200"]["content"][JSON]["schema"] | components
    jsonschema.validate(await predict(client, [LEAVER, {}], JSON), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate([{"row": 0}], schema)
