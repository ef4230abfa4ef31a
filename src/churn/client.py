"""A client of the service, synchronous and asynchronous, with the service's own structs.

```python
with Client("https://churn.example.org", ("anne", password)) as churn:
    answer = churn.predict(Employee(age=41, ...))
```

Every call may be repeated by itself without harm: reading changes nothing, and each write carries an `Idempotency-Key`.
So a call whose answer was lost, or that was put off, is repeated a few times before it fails.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from itertools import batched
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx
import msgspec

from churn.domain.employee import Employee
from churn.domain.outcome import Outcome
from churn.domain.prediction import HistoryFilter
from churn.domain.review import Decision, Review
from churn.use_cases.record_outcomes import Recorded
from churn.wire import (
    FollowedPrediction,
    ModelList,
    NewOutcome,
    NewReview,
    OutcomeReport,
    PredictionAnswer,
    PredictionPage,
    Problem,
    ProblemError,
    RejectedRow,
    RememberedPrediction,
)

#: Statuses that tell of a moment rather than of the request.
_PASSING: Final = frozenset({429, 502, 503, 504})
_PAGE: Final = 1000
#: Employees in one request of `predict_many`: a second's work at most, and little to send again.
_BLOCK: Final = 1000
_JSON: Final = "application/json"
_NDJSON: Final = "application/x-ndjson"

type Answered = PredictionAnswer | RejectedRow


class ChurnProblem(Exception):
    """The service refused a call, or could not answer it."""

    def __init__(self, problem: Problem, *, retry_after: float | None) -> None:
        """`retry_after` is in seconds; None if the service did not say when to come back."""
        super().__init__(" ".join([f"{problem.status} {problem.title}: {problem.detail}", *_details(problem)]))
        self.type = problem.type
        self.title = problem.title
        self.status = problem.status
        self.detail = problem.detail
        self.request_id = problem.request_id
        self.errors: Sequence[ProblemError] = problem.errors
        self.retry_after = retry_after


class Retries(msgspec.Struct, frozen=True, kw_only=True):
    """How patient a client is."""

    attempts: int = 4
    """Of one call, the first one included."""
    longest: float = 30.0
    """Seconds between two attempts: a service that asks for more is not asked again."""

    def pause(self, attempt: int, outcome: httpx.Response | httpx.TransportError) -> float:
        """Seconds to wait after `attempt`, counted from 1, ended with `outcome`; or raise it, to give up."""
        response = outcome if isinstance(outcome, httpx.Response) else None
        asked = None if response is None else _retry_after(response)
        if asked is None:
            # At random, so that those who failed together do not come back together.
            asked = random.uniform(0, min(self.longest, 0.25 * 2**attempt))  # noqa: S311 - no secret
        passing = response is None or response.status_code in _PASSING
        if passing and attempt < self.attempts and asked <= self.longest:
            return asked
        raise _problem(outcome) if isinstance(outcome, httpx.Response) else outcome


class _Call[T](msgspec.Struct, frozen=True):
    """One request, and what to make of its answer."""

    method: str
    path: str
    read: Callable[[bytes], T]
    content: bytes | None = None
    headers: dict[str, str] = {}
    parameters: dict[str, str] = {}


class _Calls:
    """Every call that the service knows, without sending it."""

    @staticmethod
    def predict(employee: Employee, key: str | None) -> _Call[PredictionAnswer]:
        return _write("/predict", employee, PredictionAnswer, key)

    @staticmethod
    def predict_block(employees: Sequence[Employee], start: int) -> _Call[list[Answered]]:
        content = msgspec.json.Encoder().encode_lines(employees)
        return _Call("POST", "/predict/batch", lambda body: _answers(body, start), content, _written(None, _NDJSON))

    @staticmethod
    def page(criteria: HistoryFilter, cursor: UUID | None) -> _Call[PredictionPage]:
        parameters = {"limit": str(_PAGE)} | ({} if cursor is None else {"cursor": str(cursor)})
        for name, value in msgspec.to_builtins(criteria).items():
            parameters["prediction" if name == "leaves" else name] = str(int(value) if name == "leaves" else value)
        return _read("/predictions", PredictionPage, parameters)

    @staticmethod
    def prediction(prediction_id: UUID) -> _Call[FollowedPrediction]:
        return _read(f"/predictions/{prediction_id}", FollowedPrediction)

    @staticmethod
    def record_outcome(prediction_id: UUID, outcome: NewOutcome, key: str | None) -> _Call[Outcome]:
        return _write(f"/predictions/{prediction_id}/outcome", outcome, Outcome, key)

    @staticmethod
    def record_outcomes(reports: Sequence[OutcomeReport], key: str | None) -> _Call[Recorded]:
        return _write("/outcomes", reports, Recorded, key)

    @staticmethod
    def review(prediction_id: UUID, review: NewReview, key: str | None) -> _Call[Review]:
        return _write(f"/predictions/{prediction_id}/review", review, Review, key)

    @staticmethod
    def models() -> _Call[ModelList]:
        return _read("/models", ModelList)


def _read[T](path: str, kind: type[T], parameters: dict[str, str] | None = None) -> _Call[T]:
    return _Call("GET", quote(path), msgspec.json.Decoder(kind).decode, parameters=parameters or {})


def _write[T](path: str, body: object, kind: type[T], key: str | None) -> _Call[T]:
    content = msgspec.json.encode(body)
    return _Call("POST", quote(path), msgspec.json.Decoder(kind).decode, content, _written(key, _JSON))


def _written(key: str | None, content_type: str) -> dict[str, str]:
    return {"content-type": content_type, "idempotency-key": key or uuid4().hex}


def _answers(body: bytes, start: int) -> list[Answered]:
    answers: list[Answered] = []
    for line in body.splitlines():
        if line.startswith(b'{"row":'):
            rejected = msgspec.json.decode(line, type=RejectedRow)
            answers.append(RejectedRow(start + rejected.row, rejected.errors))
        else:
            answers.append(msgspec.json.decode(line, type=PredictionAnswer))
    return answers


def _details(problem: Problem) -> list[str]:
    return [f"{error.pointer or error.parameter or ''} {error.detail}".lstrip() for error in problem.errors]


def _problem(response: httpx.Response) -> ChurnProblem:
    try:
        problem = msgspec.json.decode(response.content, type=Problem)
    except msgspec.MsgspecError:
        # Something between us and the service has answered in its place.
        problem = Problem("about:blank", response.reason_phrase, response.status_code, "No problem document.", "")
    return ChurnProblem(problem, retry_after=_retry_after(response))


def _retry_after(response: httpx.Response) -> float | None:
    text = response.headers.get("retry-after", "")
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


class Client:
    """Waits for each answer."""

    def __init__(
        self,
        url: str,
        auth: tuple[str, str],
        *,
        language: str = "fr",
        timeout: float = 30.0,
        retries: Retries | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """A client of the service at `url`, signed in with `auth`, a username and its password.

        Args:
            url: where the service is.
            auth: whose calls they are.
            language: `fr` or `en`, for messages.
            timeout: seconds that a connection may be silent.
            retries: how often and how long to try.
            transport: httpx's, if not its usual one.
            sleep: waits so many seconds.
        """
        self._retries = retries or Retries()
        self._sleep = sleep
        self._http = httpx.Client(
            base_url=url, auth=auth, headers={"accept-language": language}, timeout=timeout, transport=transport
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def predict(self, employee: Employee, *, key: str | None = None) -> PredictionAnswer:
        """Will this employee leave? A `key` of your own lets you repeat the call later, too.

        Raises:
            ChurnProblem: the service refused, or could not answer in the end; so for every call.
            httpx.TransportError: it could not be reached in the end; so for every call.
        """
        return self._send(_Calls.predict(employee, key))

    def predict_many(self, employees: Iterable[Employee]) -> Iterator[Answered]:
        """An answer to each of `employees`, in order, while they are read: a thousand are in memory at a time.

        Each thousand is stored in a transaction of its own.
        """
        start = 0
        for block in batched(employees, _BLOCK, strict=False):
            yield from self._send(_Calls.predict_block(block, start))
            start += len(block)

    def history(self, criteria: HistoryFilter | None = None) -> Iterator[RememberedPrediction]:
        """The predictions that meet `criteria`, newest first, read as they are needed."""
        cursor = None
        while True:
            page = self._send(_Calls.page(criteria or HistoryFilter(), cursor))
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return

    def prediction(self, prediction_id: UUID) -> FollowedPrediction:
        """One prediction, and what followed."""
        return self._send(_Calls.prediction(prediction_id))

    def record_outcome(self, prediction_id: UUID, *, left: bool, observed_on: date, key: str | None = None) -> Outcome:
        """Say what became of the person: the outcome that counts now."""
        return self._send(_Calls.record_outcome(prediction_id, NewOutcome(left, observed_on), key))

    def record_outcomes(self, reports: Sequence[OutcomeReport], *, key: str | None = None) -> Recorded:
        """Say what became of many, all or none of them."""
        return self._send(_Calls.record_outcomes(reports, key))

    def review(self, prediction_id: UUID, *, decision: Decision, reason: str, key: str | None = None) -> Review:
        """Say what you conclude of a prediction: the review that counts now."""
        return self._send(_Calls.review(prediction_id, NewReview(decision, reason), key))

    def models(self) -> ModelList:
        """The versions of the model, and which of them answers."""
        return self._send(_Calls.models())

    def _send[T](self, call: _Call[T]) -> T:
        attempt = 0
        while True:
            attempt += 1
            outcome: httpx.Response | httpx.TransportError
            try:
                outcome = self._http.request(**_request(call))
            except httpx.TransportError as error:
                outcome = error
            if isinstance(outcome, httpx.Response) and outcome.is_success:
                return call.read(outcome.content)
            self._sleep(self._retries.pause(attempt, outcome))


class AsyncClient:
    """Leaves the event loop to others meanwhile."""

    def __init__(
        self,
        url: str,
        auth: tuple[str, str],
        *,
        language: str = "fr",
        timeout: float = 30.0,
        retries: Retries | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """As for `Client`."""
        self._retries = retries or Retries()
        self._sleep = sleep
        self._http = httpx.AsyncClient(
            base_url=url, auth=auth, headers={"accept-language": language}, timeout=timeout, transport=transport
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.aclose()

    async def predict(self, employee: Employee, *, key: str | None = None) -> PredictionAnswer:
        """See `Client`."""
        return await self._send(_Calls.predict(employee, key))

    async def predict_many(self, employees: Iterable[Employee] | AsyncIterable[Employee]) -> AsyncIterator[Answered]:
        """See `Client`."""
        start = 0
        async for block in _blocks(employees):
            for answer in await self._send(_Calls.predict_block(block, start)):
                yield answer
            start += len(block)

    async def history(self, criteria: HistoryFilter | None = None) -> AsyncIterator[RememberedPrediction]:
        """See `Client`."""
        cursor = None
        while True:
            page = await self._send(_Calls.page(criteria or HistoryFilter(), cursor))
            for item in page.items:
                yield item
            cursor = page.next_cursor
            if cursor is None:
                return

    async def prediction(self, prediction_id: UUID) -> FollowedPrediction:
        """See `Client`."""
        return await self._send(_Calls.prediction(prediction_id))

    async def record_outcome(
        self, prediction_id: UUID, *, left: bool, observed_on: date, key: str | None = None
    ) -> Outcome:
        """See `Client`."""
        return await self._send(_Calls.record_outcome(prediction_id, NewOutcome(left, observed_on), key))

    async def record_outcomes(self, reports: Sequence[OutcomeReport], *, key: str | None = None) -> Recorded:
        """See `Client`."""
        return await self._send(_Calls.record_outcomes(reports, key))

    async def review(self, prediction_id: UUID, *, decision: Decision, reason: str, key: str | None = None) -> Review:
        """See `Client`."""
        return await self._send(_Calls.review(prediction_id, NewReview(decision, reason), key))

    async def models(self) -> ModelList:
        """See `Client`."""
        return await self._send(_Calls.models())

    async def _send[T](self, call: _Call[T]) -> T:
        attempt = 0
        while True:
            attempt += 1
            outcome: httpx.Response | httpx.TransportError
            try:
                outcome = await self._http.request(**_request(call))
            except httpx.TransportError as error:
                outcome = error
            if isinstance(outcome, httpx.Response) and outcome.is_success:
                return call.read(outcome.content)
            await self._sleep(self._retries.pause(attempt, outcome))


async def _blocks(employees: Iterable[Employee] | AsyncIterable[Employee]) -> AsyncIterator[Sequence[Employee]]:
    if isinstance(employees, Iterable):
        for block in batched(employees, _BLOCK, strict=False):
            yield block
        return
    begun: list[Employee] = []
    async for employee in employees:
        begun.append(employee)
        if len(begun) == _BLOCK:
            yield begun
            begun = []
    if begun:
        yield begun


def _request(call: _Call[Any]) -> dict[str, Any]:
    return {
        "method": call.method,
        "url": call.path,
        "content": call.content,
        "headers": call.headers,
        "params": call.parameters,
    }
