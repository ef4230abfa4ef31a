"""`churn.client`, against the real application, and against servers that misbehave on purpose."""

import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
import uuid_utils.compat
from litestar.types import ASGIApp
from tests.builders import LEAVER, employee
from tests.http.conftest import ACCOUNTS, PASSWORD

from churn.adapters.system_clock import SystemClock
from churn.client import AsyncClient, ChurnProblem, Client, Retries
from churn.domain.account import Role
from churn.domain.employee import Employee
from churn.domain.prediction import HistoryFilter, Risk
from churn.domain.review import Decision
from churn.wire import OutcomeReport, PredictionAnswer, RejectedRow

AUTH = (ACCOUNTS[Role.ANALYST], PASSWORD)
EMPLOYEE = msgspec.convert(LEAVER, Employee)
ANSWER = msgspec.json.encode(
    {"prediction": 1, "probability": 0.9, "message": "", "id": str(UUID(int=1)), "threshold": 0.5, "risk": "high",
     "model_version": "1", "intercept": None, "contributions": None, "warnings": []}
)  # fmt: skip
PROBLEM = {
    "type": "urn:churn:problem:invalid-request",
    "title": "Requête invalide",
    "status": 422,
    "detail": "Non.",
    "request_id": "r",
    "errors": [{"detail": "Champ inconnu.", "code": "unknown", "pointer": "/a", "suggestion": "age"}],
}


@pytest.fixture
async def churn(app: ASGIApp) -> AsyncIterator[AsyncClient]:
    """Signed in as the analyst, in English."""
    transport = httpx.ASGITransport(app)
    async with AsyncClient("http://churn.test", AUTH, language="en", transport=transport) as client:
        yield client


def reference() -> str:
    return f"E-{uuid_utils.compat.uuid7().hex}"


async def test_predicts_one(churn: AsyncClient) -> None:
    """The answer is a struct, in the language that was asked for, and can be read again with what followed."""
    answer = await churn.predict(EMPLOYEE)
    assert (answer.prediction, answer.risk, answer.message) == (1, Risk.HIGH, "High risk of leaving")
    today = SystemClock().now().date()
    outcome = await churn.record_outcome(answer.id, left=True, observed_on=today)
    review = await churn.review(answer.id, decision=Decision.ACCEPTED, reason="Interview.")
    followed = await churn.prediction(answer.id)
    assert (followed.employee, followed.outcomes, followed.reviews) == (EMPLOYEE, (outcome,), (review,))
    recorded = await churn.record_outcomes([OutcomeReport(True, today, prediction_id=answer.id)])
    assert (recorded.reports, recorded.unchanged) == (1, 1)


async def test_predicts_many(churn: AsyncClient) -> None:
    """Any number of employees is answered in order, those that are none in their place, and the history has them."""
    name = reference()
    rows = [employee(employee_ref=name, monthly_income=1000.0 + number) for number in range(2300)]
    rows[1500] = employee(employee_ref=name, age=17)

    async def source() -> AsyncIterator[Employee]:
        for row in rows:
            yield row

    for employees in (iter(rows), source()):
        answers = [answer async for answer in churn.predict_many(employees)]
        assert [position for position, answer in enumerate(answers) if isinstance(answer, RejectedRow)] == [1500]
        assert isinstance(answers[1500], RejectedRow)
        assert (answers[1500].row, answers[1500].errors[0].pointer) == (1500, "/age")
    found = [item async for item in churn.history(HistoryFilter(employee_ref=name, leaves=False))]
    found += [item async for item in churn.history(HistoryFilter(employee_ref=name, leaves=True))]
    assert len({item.id for item in found}) == 2 * 2299
    assert {item.employee.employee_ref for item in found} == {name}


async def test_lists_the_models(churn: AsyncClient) -> None:
    """The version that answers is among those listed."""
    models = await churn.models()
    assert models.serving.version in {item.version for item in models.items}


async def test_a_problem_is_an_exception(churn: AsyncClient) -> None:
    """It has what the problem document has, and says it."""
    with pytest.raises(ChurnProblem, match="404") as unknown:
        await churn.prediction(UUID(int=7))
    assert (unknown.value.status, unknown.value.type) == (404, "urn:churn:problem:not-found")
    with pytest.raises(ChurnProblem, match="/age") as invalid:
        await churn.predict(employee(age=17))
    assert [(error.pointer, error.code) for error in invalid.value.errors] == [("/age", "invalid")]
    assert invalid.value.title
    assert invalid.value.request_id


class Server:
    """Gives one answer after the other, and remembers what it was asked and how long it was left alone."""

    def __init__(self, *answers: httpx.Response | httpx.TransportError) -> None:
        self.requests: list[httpx.Request] = []
        self.pauses: list[float] = []
        self._answers = list(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, httpx.TransportError):
            raise answer
        return answer


type Predict = Callable[..., Any]


async def predict_async(server: Server, **options: Any) -> PredictionAnswer:
    async def sleep(seconds: float) -> None:
        server.pauses.append(seconds)

    transport = httpx.MockTransport(server)
    async with AsyncClient("http://churn.test", AUTH, transport=transport, sleep=sleep, **options) as client:
        return await client.predict(EMPLOYEE)


async def predict_sync(server: Server, **options: Any) -> PredictionAnswer:
    transport = httpx.MockTransport(server)
    with Client("http://churn.test", AUTH, transport=transport, sleep=server.pauses.append, **options) as client:
        return client.predict(EMPLOYEE)


@pytest.fixture(params=[predict_async, predict_sync])
def predict(request: pytest.FixtureRequest) -> Iterator[Predict]:
    """One prediction, asked for by either client."""
    return request.param


def busy(status: int = 503, **headers: str) -> httpx.Response:
    return httpx.Response(status, json=PROBLEM | {"status": status}, headers=headers)


async def test_tries_again_under_one_key(predict: Predict) -> None:
    """What may have been heeded is sent again under the same key, and the body is the same."""
    server = Server(httpx.ReadError("cut"), busy(), busy(429), httpx.Response(200, content=ANSWER))
    assert (await predict(server)).id == UUID(int=1)
    assert len(server.requests) == 4
    assert len({request.headers["idempotency-key"] for request in server.requests}) == 1
    assert {request.content for request in server.requests} == {msgspec.json.encode(EMPLOYEE)}


async def test_every_call_has_a_key_of_its_own(predict: Predict) -> None:
    """Two calls are two requests."""
    servers = [Server(httpx.Response(200, content=ANSWER)) for _ in range(2)]
    for server in servers:
        await predict(server)
    first, second = [server.requests[0].headers["idempotency-key"] for server in servers]
    assert first != second


async def test_comes_back_when_it_is_told_to(predict: Predict) -> None:
    """`Retry-After` is heeded, in seconds or as a moment; without it the pauses grow, at random below a bound."""
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    server = Server(
        busy(**{"retry-after": "7"}),
        busy(**{"retry-after": moment}),
        busy(**{"retry-after": "soon"}),
        httpx.Response(200, content=ANSWER),
    )
    await predict(server)
    seconds, until, growing = server.pauses
    assert seconds == 7
    assert 10 < until <= 20
    assert 0 <= growing <= 2


@pytest.mark.parametrize(
    ("times", "status", "headers"),
    [(3, 503, {}), (1, 503, {"retry-after": "31"}), (1, 422, {}), (1, 401, {}), (1, 500, {})],
)
async def test_gives_up(predict: Predict, times: int, status: int, headers: dict[str, str]) -> None:
    """After its attempts, when it would have to wait too long, or when the answer would be the same."""
    server = Server(*[busy(status, **headers) for _ in range(times)])
    with pytest.raises(ChurnProblem) as problem:
        await predict(server, retries=Retries(attempts=3))
    assert problem.value.status == status
    assert len(server.requests) == times


async def test_says_that_nobody_answers(predict: Predict) -> None:
    """In the end the failure of the connection is what the caller gets."""
    server = Server(*[httpx.ConnectError("refused")] * 3)
    with pytest.raises(httpx.ConnectError):
        await predict(server, retries=Retries(attempts=3))
    assert len(server.requests) == 3


async def test_what_is_no_problem_document_is_a_problem_too(predict: Predict) -> None:
    """A proxy's page is an exception with its status."""
    with pytest.raises(ChurnProblem) as problem:
        await predict(Server(httpx.Response(404, html="<h1>Not here</h1>")))
    assert (problem.value.status, problem.value.type, problem.value.errors) == (404, "about:blank", ())


def test_importing_it_imports_no_server() -> None:
    """Whoever only asks need not have what the service runs on."""
    code = (
        "import sys, churn.client; "
        "print([name for name in ('litestar', 'sqlalchemy', 'sklearn', 'asyncpg', 'joblib') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
