"""The roles that the use cases need filled, and the semantics that every adapter must keep.

Each port has one contract test file under `tests/contract`, which runs over all its adapters.
"""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Collection, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import date, datetime
from typing import Protocol, runtime_checkable
from uuid import UUID

import numpy as np
from msgspec import UNSET, Struct, UnsetType
from numpy.typing import NDArray

from churn.domain.account import Account, Role
from churn.domain.activation import Activation, Agreement, ShadowScore
from churn.domain.alert import Alert
from churn.domain.alert import Subject as AlertSubject
from churn.domain.answer import Answer
from churn.domain.audit import AuditEntry, AuditEvent
from churn.domain.employee import Employee
from churn.domain.manifest import Manifest
from churn.domain.outcome import Outcome, Subject
from churn.domain.performance import Cohort
from churn.domain.personal_data import Kept, Removed
from churn.domain.prediction import HistoryFilter, ModelInfo, Prediction, Score
from churn.domain.predictions import Employees, Predictions, ScoreMatrix
from churn.domain.review import Review, ReviewRates
from churn.domain.session import Session
from churn.domain.traffic import Binning, Counts
from churn.domain.workforce import ScoringJob


@runtime_checkable
class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """The current moment, aware, in UTC, with microseconds. May jump when the system clock is set."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment; never goes back."""
        ...


@runtime_checkable
class Predictor(Protocol):
    """Scores employees with one loaded model. Pure and thread-safe: equal inputs give equal scores."""

    @property
    def info(self) -> ModelInfo:
        """The loaded model's version, threshold, base rate, training ranges and intercept."""
        ...

    def predict(self, employee: Employee) -> Score:
        """Score one employee. A value outside the training range is scored at its edge and named."""
        ...

    def predict_matrix(self, features: NDArray[np.float64]) -> ScoreMatrix:
        """Score the n rows of `features`, shape (n, 11) in the order of `FEATURES`; n may be 0.

        Row i of the result is row i of the input, equal to `predict` of that row within 1e-12.
        """
        ...


class ScoredRows(Struct, frozen=True):
    """Employees of a workforce, as they were scored."""

    employees: Employees
    scores: ScoreMatrix
    """Of the same."""


class ScoredBlock(Struct, frozen=True, kw_only=True):
    """A step of a `ScoringJob`."""

    scored: int
    rejected: int
    """Rows that cannot be scored. A row without any value is not one."""
    rejected_file: str | None
    """Where they will be, if there are any."""
    progress: float | None
    """Share of the job that is done with this step, in [0, 1]; None if that is not known."""
    rows: ScoredRows | None
    """Those scored, in order; None where they do not pass through this process."""


@runtime_checkable
class Workforce(Protocol):
    """Scores whole files."""

    def fingerprint(self, job: ScoringJob) -> str:
        """A digest of what is in the inputs of `job`: equal for equal files in equal order, whatever their names.

        Raises:
            UnsuitableFile: they cannot be read, or only once, or their rows do not come with the blocks of `score`.
        """
        ...

    def score(self, job: ScoringJob, predictor: Predictor) -> Generator[ScoredBlock]:
        """Do `job` step by step, as the iterator is advanced.

        The output, and for each input with rows that cannot be scored a file of those, with the line and the
        reason, appear complete when the iterator ends; when it is closed before, or raises, none of them does.

        Raises:
            UnsuitableFile: an input cannot be read, or the output not be written.
            RowsRefused: the job is strict, and some rows cannot be scored.
        """
        ...


@runtime_checkable
class HistoryRepository(Protocol):
    """Remembers every prediction."""

    def admit(self) -> None:
        """Whether one more could be stored now, which costs less to ask than a prediction does to make.

        Raises:
            HistoryQueueFull: `append` would refuse it.
        """
        ...

    async def append(self, prediction: Prediction) -> None:
        """Store one prediction; when this returns, it survives a crash of the service and of the database.

        Raises:
            StorageUnavailable: it may or may not have been stored; certainly not when its id was there already.
            HistoryQueueFull: it was not stored.
        """
        ...

    async def append_many(self, blocks: AsyncIterable[Predictions], *, run_id: UUID | None = None) -> bool:
        """Store all the predictions of `blocks`, or none; when this returns they survive, as with `append`.

        Whoever gives `run_id` may try again: a run that is stored already is not stored twice, `blocks` is then
        left unread, and the answer is False. Of two at once with one `run_id` the second waits for the first.

        Memory holds one block at a time. An error that `blocks` raises passes through, and nothing is stored.

        Raises:
            StorageUnavailable: certainly nothing was stored when an id was there already; when the connection
                broke at the end, all may have been.
        """
        ...

    async def get(self, prediction_id: UUID) -> Prediction | None:
        """The prediction of that id, equal to what was appended, or None."""
        ...

    async def find(self, criteria: HistoryFilter, *, before: UUID | None, limit: int) -> Sequence[Prediction]:
        """At most `limit` predictions that meet `criteria`, newest id first, with ids below `before`."""
        ...

    def stream(self, criteria: HistoryFilter, *, before: UUID | None) -> AsyncIterator[Sequence[Prediction]]:
        """All predictions that meet `criteria`, as they were at the first `anext`, in the order of `find`.

        They come in blocks, none of which is empty, and memory holds one at a time. Close it when it is not read to
        its end.

        Raises:
            StorageUnavailable: at any block; those before it are right.
            TooManyExports: at the first.
        """
        ...


class HistoryFlush(Struct, frozen=True):
    """One attempt of a `HistoryRepository` to commit what had queued, as told to whoever measures it."""

    rows: int
    failed: int
    """How many of `rows` were not confirmed."""
    seconds: float
    waiting: int
    """Rows that had queued meanwhile."""


@runtime_checkable
class UserStore(Protocol):
    """Keeps the accounts."""

    async def add(self, account: Account, *, audit: AuditEvent | None = None) -> None:
        """Store a new account, durably, and with it what the audit trail is to say: both, or neither.

        Raises:
            UsernameTaken: the name exists, also when two adds race.
        """
        ...

    async def get(self, username: str) -> Account | None:
        """The account of exactly that name, disabled ones included, or None."""
        ...

    async def all(self) -> Sequence[Account]:
        """Every account, disabled ones included, by username."""
        ...

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
        """Change what is given and return the account as it is now; announce it to `changes`.

        What the audit trail is to say is stored with the change: both, or neither.

        With `if_password_hash`, nothing is changed unless the stored hash is that one: a rehash at
        sign-in must not undo a password change that happened meanwhile.

        Raises:
            UnknownAccount: there is no such account.
            LastAdmin: it would leave no enabled admin, also when two updates race; nothing is changed.
        """
        ...

    def changes(self) -> AsyncIterator[str | None]:
        """The username of each account that is changed, by any process, from the first `anext` on.

        None means that changes may have been missed (the connection was lost and is back, or has
        just been made). Goes on for ever; close it to stop.
        """
        ...


@runtime_checkable
class SessionStore(Protocol):
    """Keeps who is signed in to the console."""

    async def add(self, session: Session) -> None:
        """Store a new session; its digest is like no other's."""
        ...

    async def get(self, digest: bytes) -> Session | None:
        """The session of that digest, or None. Whether it still lasts is for the caller to judge."""
        ...

    async def touch(self, digest: bytes, seen_at: datetime) -> None:
        """Note that the session was used; nothing happens if it is gone or was used later."""
        ...

    async def end(self, digest: bytes) -> None:
        """Forget the session; nothing happens if it is gone."""
        ...

    async def purge(self, *, created_before: datetime, seen_before: datetime) -> None:
        """Forget every session that was created or last used before these moments."""
        ...


@runtime_checkable
class PasswordHasher(Protocol):
    """Turns a password into something that can be stored, and checks one against it."""

    async def hash(self, password: str) -> str:
        """A salted hash, in the PHC string format. Two hashes of one password differ.

        Raises:
            PasswordHasherBusy: too many calls are waiting.
        """
        ...

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether `password` is the one that was hashed; None, for an unknown user, costs the same time.

        Raises:
            PasswordHasherBusy: too many calls are waiting.
        """
        ...

    def needs_rehash(self, password_hash: str) -> bool:
        """Whether the hash was made with other parameters than those in force."""
        ...


@runtime_checkable
class ModelCatalogue(Protocol):
    """The model versions that there are. Versions may come and go while the service runs."""

    async def manifests(self) -> Sequence[Manifest]:
        """Of every version whose manifest can be read, oldest first; whether one loads is another question."""
        ...

    async def manifest(self, version: str) -> Manifest:
        """Of that version, trusted or not.

        Raises:
            UnknownModel: there is none, or this release cannot read it.
        """
        ...

    async def load(self, version: str) -> Predictor:
        """A predictor over that version, verified and read anew at each call, without holding up the event loop.

        Raises:
            UnknownModel: there is no such version, or its manifest cannot be read.
            ModelRefused: it is tampered with, untrusted, or does not fit this release.
        """
        ...

    async def default(self) -> str:
        """The version to serve as long as nobody has activated one; whether it loads is another question.

        Raises:
            ModelUnavailable: none is named.
        """
        ...


@runtime_checkable
class ModelRegistry(Protocol):
    """The log of which versions serve, one for all processes."""

    async def current(self) -> Activation | None:
        """The last entry, which is in force; None while there is none."""
        ...

    async def log(self) -> Sequence[Activation]:
        """Every entry, oldest first."""
        ...

    async def append(self, activation: Activation, *, audit: AuditEvent | None = None) -> None:
        """Add an entry, durably, with what the audit trail is to say, and announce it to `changes`.

        Raises:
            ActivationConflict: its number is taken, also when two appends race; nothing is added.
        """
        ...

    def changes(self) -> AsyncIterator[object]:
        """An item, whose value says nothing, for each entry that any process appends, from the first `anext` on.

        It may also mean that some may have been missed (the connection was lost and is back, or has
        just been made): the first one always does. Goes on for ever; close it to stop.
        """
        ...


@runtime_checkable
class ShadowScores(Protocol):
    """Keeps what shadow versions made of the predictions that were answered."""

    async def append(self, scores: Sequence[ShadowScore]) -> None:
        """Store all of `scores`. The last few may be lost in a crash: they are evidence, not answers.

        A score that is there already stays, of two at once one; a score of a prediction that is not in the
        history is left out.
        """
        ...

    async def agreement(self, a: str, b: str) -> Agreement:
        """How versions `a` and `b` agreed on the predictions that either answered and the other shadowed."""
        ...


@runtime_checkable
class OutcomeLog(Protocol):
    """Keeps what became of the people that predictions are about; a change is one more entry."""

    async def append(self, outcomes: Sequence[Outcome], *, audit: Callable[[int], AuditEvent]) -> int:
        """Add, all or none, those that say something else than the newest of their prediction; how many were added.

        If any were, the audit trail gets what `audit` makes of their number, in the same transaction.

        What is said is `left` and `observed_on`. There is at most one outcome per prediction in `outcomes`; one of a
        prediction that is not in the history is left out. Of two appends at once, one comes first.
        """
        ...

    async def of(self, prediction_id: UUID) -> Sequence[Outcome]:
        """Every outcome of that prediction, newest first; none for a prediction that is not there."""
        ...

    async def subjects(self, *, prediction_ids: Collection[UUID], employee_refs: Collection[str]) -> Sequence[Subject]:
        """The predictions of those ids, and those of those employees, each once, by id."""
        ...


@runtime_checkable
class ReviewLog(Protocol):
    """Keeps what people made of predictions; a change of mind is one more entry."""

    async def append(self, review: Review, *, audit: AuditEvent) -> bool:
        """Add `review`, unless the newest one says the same by the same account; whether it was added.

        What is said is `decision` and `reason`. If it was added, the audit trail gets `audit` in the same transaction.

        Raises:
            UnknownPrediction: the prediction is not in the history.
        """
        ...

    async def of(self, prediction_id: UUID) -> Sequence[Review]:
        """Every review of that prediction, newest first; none for a prediction that is not there."""
        ...

    async def rates(self, *, since: date, until: date) -> Sequence[ReviewRates]:
        """By month and version, in that order, what became of the predictions made from `since` to before `until`.

        Only the newest review of each counts. A month without a reviewed prediction of a version is not there.
        """
        ...


@runtime_checkable
class TrafficCounts(Protocol):
    """Knows how the predictions of the history are spread, without reading them again."""

    async def versions(self) -> Sequence[str]:
        """The model versions that the history has predictions of, in order."""
        ...

    async def by_day(self, binning: Binning, *, since: date, until: date) -> Mapping[date, Counts]:
        """Of each day (UTC) from `since` to before `until`: the counts of the predictions of `binning.version`.

        They are those that `binning` makes of the rows: of every prediction that has been confirmed and of none
        that was deleted. A day without any may be missing or have zeros.
        """
        ...

    async def rebuild(self, binning: Binning) -> Sequence[date]:
        """Compare the counts of `binning.version` with the history, correct them, and return the days that were wrong.

        Right also when predictions are stored and deleted meanwhile, by any process.
        """
        ...


@runtime_checkable
class PersonalData(Protocol):
    """Finds and removes predictions with everything that hangs on them: shadow scores, outcomes, reviews, counts."""

    async def of(self, employee_ref: str) -> Sequence[Kept]:
        """Everything that is kept under that pseudonym, by id of the prediction; empty if nothing is."""
        ...

    async def erase(self, employee_ref: str, *, audit: Callable[[Removed], AuditEvent]) -> Removed | None:
        """Remove everything that is kept under that pseudonym, durably; None if nothing was.

        The audit trail gets what `audit` makes of it in the same transaction.
        """
        ...

    async def older_than(self, moment: datetime) -> int:
        """How many predictions were made before `moment`."""
        ...

    async def purge(self, *, before: datetime, limit: int, audit: Callable[[Removed], AuditEvent]) -> Removed | None:
        """Remove the oldest `limit` predictions of those made before `before`, as `erase` does; None if there are none.

        What somebody else is about to remove, or to add something to, is left out.
        """
        ...


@runtime_checkable
class AuditTrail(Protocol):
    """Remembers who did what. It only grows, and its entries form one chain, whichever process appends."""

    async def append(self, events: Sequence[AuditEvent]) -> None:
        """Add `events`, in that order and side by side, durably; all or none."""
        ...

    async def page(self, *, before: int | None, limit: int) -> Sequence[AuditEntry]:
        """At most `limit` entries, newest first, with numbers below `before`."""
        ...

    async def entries(self, *, after: int, limit: int) -> Sequence[AuditEntry]:
        """At most `limit` entries, oldest first, with numbers above `after`; as they are stored, verified or not."""
        ...


@runtime_checkable
class Evidence(Protocol):
    """Knows what became of the predictions, month by month."""

    async def observed_until(self) -> date | None:
        """The last day on which anybody was observed to be still there, by an outcome that counts; None without one."""
        ...

    async def cohorts(
        self, *, since: date, until: date, model_version: str | None, observed_until: date, months: int
    ) -> Sequence[Cohort]:
        """The predictions made from `since` to before `until` (UTC), by month and version, in that order.

        Of `model_version` alone, if given. A month without a prediction of a version is not there. What an outcome,
        the newest one, makes of a prediction is as `churn.domain.outcome.status` has it with a horizon of `months`;
        a horizon has passed when its last day is not after `observed_until`. Groups mix no probabilities that differ
        by more than one `SCORE_BINS`th; resolved predictions keep theirs exactly.
        """
        ...


@runtime_checkable
class AlertLog(Protocol):
    """Remembers how things stood, for all processes."""

    async def last(self, subject: AlertSubject) -> Alert | None:
        """The last entry on `subject`, which holds; None while there is none."""
        ...

    async def append(self, alert: Alert) -> None:
        """Add an entry, durably.

        Raises:
            AlertConflict: its number is taken, also when two appends race; nothing is added.
        """
        ...

    async def confirm(self, alert: Alert, *, delivered_at: datetime) -> None:
        """Remember that the entry was delivered; the first time stays."""
        ...


@runtime_checkable
class Notifier(Protocol):
    """Tells somebody outside of an alert."""

    async def send(self, alert: Alert) -> None:
        """Deliver `alert`; when this returns it has been received. May be sent twice: `subject` and `number` tell.

        Raises:
            NotDelivered: it may or may not have been received, or nobody is to be told.
        """
        ...


class Attempt(Struct):
    """One attempt to answer a request."""

    answer: Answer | None
    """What it was answered before; None at the first attempt, and then to be set."""


@runtime_checkable
class AnswerStore(Protocol):
    """Keeps the answers to requests that may come again."""

    def attempt(self, key: bytes, fingerprint: bytes, *, at: datetime) -> AbstractAsyncContextManager[Attempt]:
        """An attempt at the request `key`, made at the moment `at`; of two at once the second waits for the first.

        What `HistoryRepository.append_many`, `OutcomeLog` and `ReviewLog` store meanwhile, in the same task, they
        store together with the answer when the attempt ends: all of it, or nothing. When it ends with an error there
        is nothing, and the next attempt is the first.

        Raises:
            KeyReused: there is an answer under `key`, to another `fingerprint`.
            AnswerErased: there was one, and it was erased.
            StorageUnavailable: as it begins, certainly nothing was stored; as it ends, all may have been.
        """
        ...

    async def purge(self, *, before: datetime) -> None:
        """Forget the keys of all attempts made before that moment."""
        ...
