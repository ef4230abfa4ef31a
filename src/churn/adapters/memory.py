"""A working twin of every port, kept in memory: for tests, and for trying the service without a disk."""

import asyncio
import hashlib
import hmac
import itertools
import math
import operator
import os
import statistics
from collections import Counter, defaultdict
from collections.abc import AsyncIterable, AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import numpy as np
from msgspec import UNSET, UnsetType
from msgspec.structs import replace
from numpy.typing import NDArray

from churn.domain.account import Account, Role
from churn.domain.activation import Activation, Agreement, ShadowScore
from churn.domain.alert import Alert
from churn.domain.alert import Subject as AlertSubject
from churn.domain.answer import Answer
from churn.domain.audit import GENESIS, AuditEntry, AuditEvent, link
from churn.domain.employee import Employee
from churn.domain.errors import (
    ActivationConflict,
    AlertConflict,
    KeyReused,
    LastAdmin,
    ModelRefused,
    ModelUnavailable,
    StorageUnavailable,
    UnknownAccount,
    UnknownModel,
    UnknownPrediction,
    UsernameTaken,
)
from churn.domain.manifest import Manifest
from churn.domain.outcome import Outcome, Status, Subject, horizon_end, status
from churn.domain.performance import Cohort
from churn.domain.personal_data import Kept, Removed
from churn.domain.prediction import RISKS, HistoryFilter, ModelInfo, Prediction, Score
from churn.domain.predictions import Predictions, ScoreMatrix
from churn.domain.review import Decision, Review, ReviewRates
from churn.domain.session import Session
from churn.domain.traffic import Binning, Counts
from churn.ports import Attempt, Predictor


class MemoryClock:
    """A clock that moves when it is told to."""

    def __init__(self, now: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = now
        self._monotonic = 0.0

    def now(self) -> datetime:
        """See the port."""
        return self._now

    def monotonic(self) -> float:
        """See the port."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass on both clocks."""
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds

    def set(self, now: datetime) -> None:
        """Let somebody set the machine's clock: no time passes."""
        self._now = now


class MemoryHistoryRepository:
    """Fills the port `HistoryRepository`; forgets everything with the process."""

    def __init__(self) -> None:
        self._predictions: dict[UUID, Prediction] = {}
        self._runs: set[UUID] = set()
        self._appending_many = asyncio.Lock()

    def __len__(self) -> int:
        """How many predictions there are."""
        return len(self._predictions)

    def forget(self, prediction_id: UUID) -> int:
        """Remove a prediction, for the twin that erases; how many there were."""
        return 0 if self._predictions.pop(prediction_id, None) is None else 1

    def admit(self) -> None:
        """See the port: there is always room."""

    async def append(self, prediction: Prediction) -> None:
        """See the port."""
        if prediction.id in self._predictions:
            raise StorageUnavailable("the id is taken")
        self._predictions[prediction.id] = prediction

    async def append_many(self, blocks: AsyncIterable[Predictions], *, run_id: UUID | None = None) -> bool:
        """See the port."""
        async with self._appending_many:
            if run_id in self._runs:
                return False
            added: dict[UUID, Prediction] = {}
            async for block in blocks:
                for prediction in block:
                    if prediction.id in added or prediction.id in self._predictions:
                        raise StorageUnavailable("the id is taken")
                    added[prediction.id] = replace(prediction, run_id=run_id)
            self._predictions |= added
            if run_id is not None:
                self._runs.add(run_id)
            return True

    async def get(self, prediction_id: UUID) -> Prediction | None:
        """See the port."""
        return self._predictions.get(prediction_id)

    async def find(self, criteria: HistoryFilter, *, before: UUID | None, limit: int) -> Sequence[Prediction]:
        """See the port."""
        newest_first = sorted(self._predictions.values(), key=lambda prediction: prediction.id, reverse=True)
        return [
            prediction
            for prediction in newest_first
            if (before is None or prediction.id < before) and _meets(prediction, criteria)
        ][:limit]

    async def stream(self, criteria: HistoryFilter, *, before: UUID | None) -> AsyncIterator[Sequence[Prediction]]:
        """See the port."""
        found = await self.find(criteria, before=before, limit=len(self))
        for block in itertools.batched(found, 100, strict=False):
            yield block


def _meets(prediction: Prediction, criteria: HistoryFilter) -> bool:
    return (
        (criteria.since is UNSET or prediction.created_at >= criteria.since)
        and (criteria.until is UNSET or prediction.created_at < criteria.until)
        and criteria.model_version in (UNSET, prediction.model_version)
        and criteria.leaves in (UNSET, prediction.leaves)
        and criteria.employee_ref in (UNSET, prediction.employee.employee_ref)
        and criteria.account in (UNSET, prediction.account)
        and criteria.run_id in (UNSET, prediction.run_id)
    )


class MemoryAuditTrail:
    """Fills the port `AuditTrail`; forgets everything with the process."""

    def __init__(self) -> None:
        self._entries: list[AuditEntry] = []

    def remember(self, *events: AuditEvent | None) -> None:
        """Add `events`, but for None, for the other twins, whose changes come with them."""
        for event in filter(None, events):
            previous = self._entries[-1].hash if self._entries else GENESIS
            self._entries.append(link(event, number=len(self._entries) + 1, previous=previous))

    async def append(self, events: Sequence[AuditEvent]) -> None:
        """See the port."""
        self.remember(*events)

    async def page(self, *, before: int | None, limit: int) -> Sequence[AuditEntry]:
        """See the port."""
        return self._entries[: None if before is None else before - 1][::-1][:limit]

    async def entries(self, *, after: int, limit: int) -> Sequence[AuditEntry]:
        """See the port."""
        return self._entries[after:][:limit]


class MemoryUserStore:
    """Fills the port `UserStore`; forgets everything with the process."""

    def __init__(self, trail: MemoryAuditTrail | None = None) -> None:
        """`trail` gets what the audit is to say."""
        self._trail = trail or MemoryAuditTrail()
        self._accounts: dict[str, Account] = {}
        self._listeners: set[asyncio.Queue[str | None]] = set()

    async def add(self, account: Account, *, audit: AuditEvent | None = None) -> None:
        """See the port."""
        if account.username in self._accounts:
            raise UsernameTaken(account.username)
        self._accounts[account.username] = account
        self._trail.remember(audit)

    async def get(self, username: str) -> Account | None:
        """See the port."""
        return self._accounts.get(username)

    async def all(self) -> Sequence[Account]:
        """See the port."""
        return [self._accounts[username] for username in sorted(self._accounts)]

    async def update(
        self,
        username: str,
        *,
        password_hash: str | UnsetType = UNSET,
        role: Role | UnsetType = UNSET,
        disabled: bool | UnsetType = UNSET,
        if_password_hash: str | UnsetType = UNSET,
        audit: AuditEvent | None = None,
    ) -> Account:
        """See the port."""
        account = self._accounts.get(username)
        if account is None:
            raise UnknownAccount(username)
        if if_password_hash in (UNSET, account.password_hash):
            changes = {"password_hash": password_hash, "role": role, "disabled": disabled}
            changed = replace(account, **{name: value for name, value in changes.items() if value is not UNSET})
            if account.is_enabled_admin and not any(
                other.is_enabled_admin for other in (self._accounts | {username: changed}).values()
            ):
                raise LastAdmin(username)
            account = self._accounts[username] = changed
            self._trail.remember(audit)
            for listener in self._listeners:
                listener.put_nowait(username)
        return account

    async def changes(self) -> AsyncIterator[str | None]:
        """See the port."""
        queue: asyncio.Queue[str | None] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            yield None
            while True:
                yield await queue.get()
        finally:
            self._listeners.discard(queue)


class MemorySessionStore:
    """Fills the port `SessionStore`; forgets everything with the process."""

    def __init__(self) -> None:
        self._sessions: dict[bytes, Session] = {}

    async def add(self, session: Session) -> None:
        """See the port."""
        self._sessions[session.digest] = session

    async def get(self, digest: bytes) -> Session | None:
        """See the port."""
        return self._sessions.get(digest)

    async def touch(self, digest: bytes, seen_at: datetime) -> None:
        """See the port."""
        session = self._sessions.get(digest)
        if session is not None and session.seen_at < seen_at:
            self._sessions[digest] = replace(session, seen_at=seen_at)

    async def end(self, digest: bytes) -> None:
        """See the port."""
        self._sessions.pop(digest, None)

    async def purge(self, *, created_before: datetime, seen_before: datetime) -> None:
        """See the port."""
        self._sessions = {
            digest: session
            for digest, session in self._sessions.items()
            if session.created_at >= created_before and session.seen_at >= seen_before
        }


class MemoryPasswordHasher:
    """Fills the port `PasswordHasher` with a salted hash that is quick to compute, and so unfit for real passwords."""

    def __init__(self, cost: int = 1) -> None:
        """`cost` is the number of rounds; a hash made with another one needs a rehash."""
        self._cost = cost

    async def hash(self, password: str) -> str:
        """See the port."""
        salt = os.urandom(16)
        return f"$pbkdf2-sha256$i={self._cost}${salt.hex()}${self._digest(password, salt, self._cost)}"

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """See the port."""
        decoy = f"$pbkdf2-sha256$i={self._cost}${'00' * 16}$"
        try:
            _, _, cost, salt, digest = (password_hash or decoy).split("$")
            computed = self._digest(password, bytes.fromhex(salt), int(cost.removeprefix("i=")))
        except ValueError:
            return False
        return hmac.compare_digest(computed, digest)

    def needs_rehash(self, password_hash: str) -> bool:
        """See the port."""
        return not password_hash.startswith(f"$pbkdf2-sha256$i={self._cost}$")

    @staticmethod
    def _digest(password: str, salt: bytes, cost: int) -> str:
        return hashlib.pbkdf2_hmac("sha256", password.encode(), salt, cost).hex()


class MemoryPredictor:
    """Fills the port `Predictor` with a logistic regression whose few numbers were set by hand, not learnt."""

    # Per feature, in the order of `FEATURES`: smallest value, largest value, log-odds from one to the other.
    _MODEL = (
        (18.0, 60.0, -1.2),
        (1000.0, 20_000.0, -1.8),
        (1.0, 29.0, 0.9),
        (1.0, 4.0, -1.0),
        (0.0, 1.0, 1.4),
        (0.0, 15.0, 0.6),
        (1.0, 4.0, -0.8),
        (0.0, 3.0, -0.7),
        (0.0, 18.0, -0.6),
        (0.0, 40.0, -0.4),
        (0.0, 40.0, -0.8),
    )
    _INTERCEPT = 0.3

    def __init__(self, version: str = "memory", *, threshold: float = 0.5, base_rate: float = 0.16) -> None:
        self._info = ModelInfo(
            version=version,
            threshold=threshold,
            base_rate=base_rate,
            ranges=tuple((low, high) for low, high, _ in self._MODEL),
            intercept=self._INTERCEPT,
        )

    @property
    def info(self) -> ModelInfo:
        """See the port."""
        return self._info

    def predict(self, employee: Employee) -> Score:
        """See the port."""
        values = employee.features()
        contributions = tuple(
            weight * (min(max(value, low), high) - low) / (high - low)
            for value, (low, high, weight) in zip(values, self._MODEL, strict=True)
        )
        return Score(
            1 / (1 + math.exp(-self._INTERCEPT - sum(contributions))),
            contributions,
            tuple(
                j
                for j, (value, (low, high, _)) in enumerate(zip(values, self._MODEL, strict=True))
                if not low <= value <= high
            ),
        )

    def predict_matrix(self, features: NDArray[np.float64]) -> ScoreMatrix:
        """See the port."""
        low, high, weight = np.array(self._MODEL).T
        contributions = weight * (np.clip(features, low, high) - low) / (high - low)
        probability = 1 / (1 + np.exp(-self._INTERCEPT - contributions.sum(axis=1)))
        return ScoreMatrix(probability, contributions, (features < low) | (features > high))


class MemoryModelCatalogue:
    """Fills the port `ModelCatalogue` with what it is given; the same predictor at each call."""

    def __init__(self, models: Mapping[str, tuple[Manifest, Predictor | None]], *, default: str = "") -> None:
        """`models` are by version, oldest first; one without a predictor is refused."""
        self._models = models
        self._default = default

    async def manifests(self) -> Sequence[Manifest]:
        """See the port."""
        return [manifest for manifest, _ in self._models.values()]

    async def manifest(self, version: str) -> Manifest:
        """See the port."""
        return self._model(version)[0]

    async def load(self, version: str) -> Predictor:
        """See the port."""
        _, predictor = self._model(version)
        if predictor is None:
            raise ModelRefused(f"model {version}: it has no predictor")
        return predictor

    async def default(self) -> str:
        """See the port."""
        if not self._default:
            raise ModelUnavailable("no model is active")
        return self._default

    def _model(self, version: str) -> tuple[Manifest, Predictor | None]:
        if version not in self._models:
            raise UnknownModel(version)
        return self._models[version]


class MemoryModelRegistry:
    """Fills the port `ModelRegistry`; forgets everything with the process."""

    def __init__(self, trail: MemoryAuditTrail | None = None) -> None:
        """`trail` gets what the audit is to say."""
        self._trail = trail or MemoryAuditTrail()
        self._log: list[Activation] = []
        self._listeners: set[asyncio.Queue[object]] = set()

    async def current(self) -> Activation | None:
        """See the port."""
        return self._log[-1] if self._log else None

    async def log(self) -> Sequence[Activation]:
        """See the port."""
        return self._log.copy()

    async def append(self, activation: Activation, *, audit: AuditEvent | None = None) -> None:
        """See the port."""
        if activation.number <= len(self._log):
            raise ActivationConflict
        self._log.append(activation)
        self._trail.remember(audit)
        for listener in self._listeners:
            listener.put_nowait(None)

    async def changes(self) -> AsyncIterator[object]:
        """See the port."""
        queue: asyncio.Queue[object] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            yield None
            while True:
                yield await queue.get()
        finally:
            self._listeners.discard(queue)


class MemoryShadowScores:
    """Fills the port `ShadowScores`; forgets everything with the process."""

    def __init__(self, history: MemoryHistoryRepository) -> None:
        """`history` has the predictions that were answered."""
        self._history = history
        self._scores: dict[tuple[UUID, str], ShadowScore] = {}

    async def append(self, scores: Sequence[ShadowScore]) -> None:
        """See the port."""
        for score in scores:
            if await self._history.get(score.prediction_id) is not None:
                self._scores.setdefault((score.prediction_id, score.model_version), score)

    def of(self, prediction_id: UUID) -> Sequence[ShadowScore]:
        """Those of a prediction, by version."""
        return [score for (id_, _), score in sorted(self._scores.items()) if id_ == prediction_id]

    def forget(self, prediction_id: UUID) -> int:
        """Remove those of a prediction, for the twin that erases; how many there were."""
        theirs = [key for key in self._scores if key[0] == prediction_id]
        for key in theirs:
            del self._scores[key]
        return len(theirs)

    async def agreement(self, a: str, b: str) -> Agreement:
        """See the port."""
        pairs = [
            (prediction, score)
            for score in self._scores.values()
            if (prediction := await self._history.get(score.prediction_id)) is not None
            and (prediction.model_version, score.model_version) in ((a, b), (b, a))
        ]
        if not pairs:
            return Agreement(n=0, mean_absolute_difference=None, equal_classes=None, correlation=None)
        answered = [prediction.score.probability for prediction, _ in pairs]
        shadowed = [score.probability for _, score in pairs]
        return Agreement(
            n=len(pairs),
            mean_absolute_difference=statistics.fmean(map(abs, map(operator.sub, answered, shadowed))),
            equal_classes=statistics.fmean(prediction.leaves == score.leaves for prediction, score in pairs),
            correlation=(
                statistics.correlation(answered, shadowed)
                if len(set(answered)) > 1 and len(set(shadowed)) > 1
                else None
            ),
        )


class MemoryOutcomeLog:
    """Fills the port `OutcomeLog`; forgets everything with the process."""

    def __init__(self, history: MemoryHistoryRepository, trail: MemoryAuditTrail | None = None) -> None:
        """`history` has the predictions that were answered; `trail` gets what the audit is to say."""
        self._history = history
        self._trail = trail or MemoryAuditTrail()
        self._log: defaultdict[UUID, list[Outcome]] = defaultdict(list)

    async def append(self, outcomes: Sequence[Outcome], *, audit: Callable[[int], AuditEvent]) -> int:
        """See the port."""
        added = 0
        for outcome in outcomes:
            if await self._history.get(outcome.prediction_id) is None:
                continue
            log = self._log[outcome.prediction_id]
            if not log or (log[-1].left, log[-1].observed_on) != (outcome.left, outcome.observed_on):
                log.append(outcome)
                added += 1
        self._trail.remember(audit(added) if added else None)
        return added

    def forget(self, prediction_id: UUID) -> int:
        """Remove those of a prediction, for the twin that erases; how many there were."""
        return len(self._log.pop(prediction_id, []))

    async def of(self, prediction_id: UUID) -> Sequence[Outcome]:
        """See the port."""
        return self._log.get(prediction_id, [])[::-1]

    async def subjects(self, *, prediction_ids: Collection[UUID], employee_refs: Collection[str]) -> Sequence[Subject]:
        """See the port."""
        everything = await self._history.find(HistoryFilter(), before=None, limit=len(self._history))
        return [
            Subject(
                prediction_id=prediction.id,
                predicted_at=prediction.created_at,
                employee_ref=None if ref is UNSET else ref,
                newest=next(iter(await self.of(prediction.id)), None),
            )
            for prediction in reversed(everything)
            for ref in (prediction.employee.employee_ref,)
            if prediction.id in prediction_ids or ref in employee_refs
        ]


class MemoryReviewLog:
    """Fills the port `ReviewLog`; forgets everything with the process."""

    def __init__(self, history: MemoryHistoryRepository, trail: MemoryAuditTrail | None = None) -> None:
        """`history` has the predictions that were answered; `trail` gets what the audit is to say."""
        self._history = history
        self._trail = trail or MemoryAuditTrail()
        self._log: defaultdict[UUID, list[Review]] = defaultdict(list)

    async def append(self, review: Review, *, audit: AuditEvent) -> bool:
        """See the port."""
        if await self._history.get(review.prediction_id) is None:
            raise UnknownPrediction(review.prediction_id)
        log = self._log[review.prediction_id]
        if log and replace(log[-1], reviewed_at=review.reviewed_at) == review:
            return False
        log.append(review)
        self._trail.remember(audit)
        return True

    def forget(self, prediction_id: UUID) -> int:
        """Remove those of a prediction, for the twin that erases; how many there were."""
        return len(self._log.pop(prediction_id, []))

    async def of(self, prediction_id: UUID) -> Sequence[Review]:
        """See the port."""
        return self._log.get(prediction_id, [])[::-1]

    async def rates(self, *, since: date, until: date) -> Sequence[ReviewRates]:
        """See the port."""
        counts: defaultdict[tuple[date, str], Counter[Decision]] = defaultdict(Counter)
        for prediction_id, log in self._log.items():
            prediction = await self._history.get(prediction_id)
            if prediction is not None and since <= prediction.created_at.date() < until:
                month = prediction.created_at.date().replace(day=1)
                counts[month, prediction.model_version][log[-1].decision] += 1
        return [
            ReviewRates(
                month=month, model_version=version, **{decision.value: counted[decision] for decision in Decision}
            )
            for (month, version), counted in sorted(counts.items())
        ]


class MemoryTrafficCounts:
    """Fills the port `TrafficCounts` by counting when asked: it is never wrong."""

    def __init__(self, history: MemoryHistoryRepository) -> None:
        """`history` has the predictions that are counted."""
        self._history = history

    async def versions(self) -> Sequence[str]:
        """See the port."""
        return sorted({prediction.model_version for prediction in await self._all(HistoryFilter())})

    async def by_day(self, binning: Binning, *, since: date, until: date) -> Mapping[date, Counts]:
        """See the port."""
        days: defaultdict[date, Counts] = defaultdict(binning.none)
        for prediction in await self._all(HistoryFilter(model_version=binning.version)):
            day = prediction.created_at.astimezone(UTC).date()
            if since <= day < until:
                values = (*prediction.employee.features(), prediction.score.probability)
                days[day] += binning.count(values, without_reference=int(prediction.employee.employee_ref is UNSET))
        return days

    async def rebuild(self, binning: Binning) -> Sequence[date]:
        """See the port."""
        del binning
        return []

    async def _all(self, criteria: HistoryFilter) -> Sequence[Prediction]:
        return await self._history.find(criteria, before=None, limit=len(self._history))


class MemoryEvidence:
    """Fills the port `Evidence`; every prediction is a group of its own."""

    def __init__(self, history: MemoryHistoryRepository, outcomes: MemoryOutcomeLog) -> None:
        """`history` has the predictions, and `outcomes` what became of them."""
        self._history = history
        self._outcomes = outcomes

    async def observed_until(self) -> date | None:
        """See the port."""
        everything = await self._history.find(HistoryFilter(), before=None, limit=len(self._history))
        newest = [outcome for prediction in everything for outcome in (await self._outcomes.of(prediction.id))[:1]]
        return max((outcome.observed_on for outcome in newest if not outcome.left), default=None)

    async def cohorts(
        self, *, since: date, until: date, model_version: str | None, observed_until: date, months: int
    ) -> Sequence[Cohort]:
        """See the port."""
        criteria = HistoryFilter(model_version=UNSET if model_version is None else model_version)
        groups: defaultdict[tuple[date, str], list[tuple[Prediction, Status, bool]]] = defaultdict(list)
        for prediction in reversed(await self._history.find(criteria, before=None, limit=len(self._history))):
            day = prediction.created_at.astimezone(UTC).date()
            if since <= day < until:
                newest = next(iter(await self._outcomes.of(prediction.id)), None)
                known = status(prediction.created_at, newest, months=months)
                pending = horizon_end(prediction.created_at, months=months) > observed_until
                groups[day.replace(day=1), prediction.model_version].append((prediction, known, pending))
        return [_cohort(*key, groups[key]) for key in sorted(groups)]


def _cohort(month: date, version: str, members: Sequence[tuple[Prediction, Status, bool]]) -> Cohort:
    resolved = [
        (prediction, known) for prediction, known, pending in members if not pending and known is not Status.CENSORED
    ]
    return Cohort(
        month=month,
        model_version=version,
        risk=_positions([prediction for prediction, _, _ in members]),
        count=np.ones(len(members), dtype=np.int64),
        probability=np.array([prediction.score.probability for prediction, _, _ in members]),
        pending=sum(pending for _, _, pending in members),
        left_early=sum(pending and known is Status.LEFT for _, known, pending in members),
        resolved_risk=_positions([prediction for prediction, _ in resolved]),
        resolved_probability=np.array([prediction.score.probability for prediction, _ in resolved], dtype=np.float64),
        resolved_left=np.array([known is Status.LEFT for _, known in resolved], dtype=np.bool_),
    )


def _positions(predictions: Sequence[Prediction]) -> NDArray[np.uint8]:
    return np.array([RISKS.index(prediction.risk) for prediction in predictions], dtype=np.uint8)


class MemoryPersonalData:
    """Fills the port `PersonalData`, over the twins that keep it."""

    def __init__(
        self,
        *,
        history: MemoryHistoryRepository,
        shadow_scores: MemoryShadowScores,
        outcomes: MemoryOutcomeLog,
        reviews: MemoryReviewLog,
        trail: MemoryAuditTrail,
    ) -> None:
        """`trail` gets what the audit is to say."""
        self._history = history
        self._shadow_scores = shadow_scores
        self._outcomes = outcomes
        self._reviews = reviews
        self._trail = trail

    async def of(self, employee_ref: str) -> Sequence[Kept]:
        """See the port."""
        return [
            Kept(
                prediction=prediction,
                shadow_scores=self._shadow_scores.of(prediction.id),
                outcomes=await self._outcomes.of(prediction.id),
                reviews=await self._reviews.of(prediction.id),
            )
            for prediction in reversed(await self._find(HistoryFilter(employee_ref=employee_ref)))
        ]

    async def erase(self, employee_ref: str, *, audit: Callable[[Removed], AuditEvent]) -> Removed | None:
        """See the port."""
        return self._remove(await self._find(HistoryFilter(employee_ref=employee_ref)), audit)

    async def older_than(self, moment: datetime) -> int:
        """See the port."""
        return len(await self._find(HistoryFilter(until=moment)))

    async def purge(self, *, before: datetime, limit: int, audit: Callable[[Removed], AuditEvent]) -> Removed | None:
        """See the port."""
        old = sorted(await self._find(HistoryFilter(until=before)), key=operator.attrgetter("created_at"))
        return self._remove(old[:limit], audit)

    async def _find(self, criteria: HistoryFilter) -> Sequence[Prediction]:
        return await self._history.find(criteria, before=None, limit=len(self._history))

    def _remove(self, predictions: Sequence[Prediction], audit: Callable[[Removed], AuditEvent]) -> Removed | None:
        if not predictions:
            return None
        ids = [prediction.id for prediction in predictions]
        removed = Removed(
            predictions=sum(map(self._history.forget, ids)),
            shadow_scores=sum(map(self._shadow_scores.forget, ids)),
            outcomes=sum(map(self._outcomes.forget, ids)),
            reviews=sum(map(self._reviews.forget, ids)),
        )
        self._trail.remember(audit(removed))
        return removed


class MemoryAlertLog:
    """Fills the port `AlertLog`; forgets everything with the process."""

    def __init__(self) -> None:
        self._log: defaultdict[AlertSubject, list[Alert]] = defaultdict(list)

    async def last(self, subject: AlertSubject) -> Alert | None:
        """See the port."""
        return self._log[subject][-1] if self._log[subject] else None

    async def append(self, alert: Alert) -> None:
        """See the port."""
        log = self._log[alert.subject]
        if alert.number <= len(log):
            raise AlertConflict
        log.append(alert)

    async def confirm(self, alert: Alert, *, delivered_at: datetime) -> None:
        """See the port."""
        log = self._log[alert.subject]
        stored = log[alert.number - 1]
        log[alert.number - 1] = replace(stored, delivered_at=stored.delivered_at or delivered_at)


class MemoryNotifier:
    """Fills the port `Notifier` by keeping what it is given."""

    def __init__(self) -> None:
        self.sent: list[Alert] = []

    async def send(self, alert: Alert) -> None:
        """See the port."""
        self.sent.append(alert)


class MemoryAnswerStore:
    """Fills the port `AnswerStore`; what fails has stored what it has stored, for want of transactions."""

    def __init__(self) -> None:
        self._kept: dict[bytes, tuple[bytes, datetime, Answer | None]] = {}
        self._locks: defaultdict[bytes, asyncio.Lock] = defaultdict(asyncio.Lock)

    @asynccontextmanager
    async def attempt(self, key: bytes, fingerprint: bytes, *, at: datetime) -> AsyncIterator[Attempt]:
        """See the port."""
        async with self._locks[key]:
            if key not in self._kept:
                attempt = Attempt(None)
                yield attempt
                self._kept[key] = (fingerprint, at, attempt.answer)
                return
            known, _, answer = self._kept[key]
            if known != fingerprint:
                raise KeyReused
            yield Attempt(answer)

    async def purge(self, *, before: datetime) -> None:
        """See the port."""
        self._kept = {key: kept for key, kept in self._kept.items() if kept[1] >= before}
