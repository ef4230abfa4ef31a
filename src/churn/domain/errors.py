"""What can go wrong, in the words of the domain.

No error carries a secret or an employee's value: adapters and the HTTP layer may show any of these.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Literal
from uuid import UUID

from msgspec import Struct


class ChurnError(Exception):
    """The root of every error that churn raises on purpose."""


class UsernameTaken(ChurnError):
    """An account of that name exists already."""

    def __init__(self, username: str) -> None:
        super().__init__(f"the username {username!r} is taken")
        self.username = username


class UnknownAccount(ChurnError):
    """No account has that name."""

    def __init__(self, username: str) -> None:
        super().__init__(f"there is no account {username!r}")
        self.username = username


class LastAdmin(ChurnError):
    """The change would leave nobody who can manage accounts."""

    def __init__(self, username: str) -> None:
        super().__init__(f"{username!r} is the last enabled admin")
        self.username = username


class InvalidUsername(ChurnError):
    """The name is not one an account can have."""


class PasswordRule(StrEnum):
    """What a password can break."""

    LENGTH = "length"
    CONTROL = "control"
    USERNAME = "username"
    COMMON = "common"


class WeakPassword(ChurnError):
    """The password breaks the policy; the message says how, and never repeats the password."""

    def __init__(self, rule: PasswordRule, message: str) -> None:
        super().__init__(message)
        self.rule = rule


class InvalidCredentials(ChurnError):
    """Unknown user, wrong password or disabled account: the caller is not told which."""

    def __init__(self) -> None:
        super().__init__("the username or the password is wrong")


class TooManyAttempts(ChurnError):
    """Too many failed sign-ins from this address or on this account."""

    def __init__(self, retry_after: float) -> None:
        """`retry_after` is in seconds."""
        super().__init__("too many failed sign-ins")
        self.retry_after = retry_after


class Unavailable(ChurnError):
    """Something that the service needs does not answer; the same request may succeed later."""

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        """`retry_after` is in seconds."""
        super().__init__(message)
        self.retry_after = retry_after


class StorageUnavailable(Unavailable):
    """The database does not answer, or answered with an error of its own."""


class HistoryQueueFull(Unavailable):
    """Predictions arrive faster than the database commits them."""


class TooManyWorkforces(Unavailable):
    """As many workforces as the service takes at once are being scored."""


class TooManyExports(Unavailable):
    """As many exports of the history as the service allows are under way."""


class PasswordHasherBusy(Unavailable):
    """More sign-ins are waiting to be verified than the service allows."""


class ModelUnavailable(Unavailable):
    """No model can be loaded: missing, tampered with, untrusted or not fitting this version."""


class UnknownModel(ModelUnavailable):
    """There is no model of that version, or none whose manifest this release can read."""

    def __init__(self, version: str) -> None:
        super().__init__(f"there is no model {version!r}")
        self.version = version


class ModelRefused(ModelUnavailable):
    """The model is there, but it must not or cannot be loaded; the message says why."""


class AlreadyActive(ChurnError):
    """The version answers already, so it can neither be activated nor be its own shadow."""

    def __init__(self, version: str) -> None:
        super().__init__(f"model {version} is the active one")
        self.version = version


class NothingToUndo(ChurnError):
    """There is no earlier version to roll back to, or no shadow to end."""


class ActivationConflict(ChurnError):
    """Somebody else has changed meanwhile which versions serve."""

    def __init__(self) -> None:
        super().__init__("somebody else has changed meanwhile which versions serve; look, and try again")


class UnknownPrediction(ChurnError):
    """The history has no prediction of that id."""

    def __init__(self, prediction_id: UUID) -> None:
        super().__init__(f"there is no prediction {prediction_id}")
        self.prediction_id = prediction_id


class UnknownEmployee(ChurnError):
    """Nothing is kept of that person; the message does not repeat the pseudonym."""

    def __init__(self) -> None:
        super().__init__("nothing is kept under this pseudonym")


class ReportFault(Struct, frozen=True):
    """What is wrong with one report of an outcome."""

    row: int
    """Position of the report, from 0 on."""
    field: str
    code: Literal["in-future", "before-prediction", "unknown", "contradiction"]
    """`unknown`: there is no such prediction; `contradiction`: an earlier report says something else of it."""


class OutcomesRefused(ChurnError):
    """Reports that cannot be true or are about nothing; none of those that came with them is recorded."""

    def __init__(self, faults: Sequence[ReportFault]) -> None:
        super().__init__("; ".join(f"report {fault.row}, {fault.field}: {fault.code}" for fault in faults))
        self.faults = faults


class EmptyPeriod(ChurnError):
    """There is no day in the period that was asked about."""

    def __init__(self) -> None:
        super().__init__("the period ends before it begins")


class UnsuitableFile(ChurnError):
    """A file of employees cannot be read, or nothing can be made of it; the message says why."""


class RowsRefused(ChurnError):
    """Some rows cannot be scored, and all or none were asked for."""


class AlertConflict(ChurnError):
    """Another process has recorded the same change meanwhile."""

    def __init__(self) -> None:
        super().__init__("another process has recorded this change meanwhile")


class NotDelivered(ChurnError):
    """Whoever is to be told of an alert did not confirm it; the message says why."""


class ClusterUnavailable(Unavailable):
    """The machines that are to share the work do not answer, or cannot do it."""


class KeyReused(ChurnError):
    """The key was used before, for another request."""

    def __init__(self) -> None:
        super().__init__("this key was used before, for another request")


class AnswerErased(ChurnError):
    """The request was answered before, but its answer was erased with what it was about."""

    def __init__(self) -> None:
        super().__init__("the request was answered before, and the answer has been erased since")
