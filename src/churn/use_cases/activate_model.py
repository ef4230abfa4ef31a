"""Which versions are to serve from now on? Each decision is recorded, and takes effect in every process."""

from typing import Final, Literal

from msgspec.structs import replace

from churn.domain.activation import Activation, rollback_target
from churn.domain.audit import Action, AuditEvent
from churn.domain.errors import AlreadyActive, ModelUnavailable, NothingToUndo
from churn.ports import Clock, ModelCatalogue, ModelRegistry

_AUDITED: Final = {
    "activate": Action.MODEL_ACTIVATED,
    "roll_back": Action.MODEL_ROLLED_BACK,
    "shadow": Action.MODEL_SHADOWED,
}


class _Decision:
    """What the three decisions have in common: the next entry of the log, based on the last one."""

    def __init__(self, *, registry: ModelRegistry, catalogue: ModelCatalogue, clock: Clock) -> None:
        self._registry = registry
        self._catalogue = catalogue
        self._clock = clock

    async def _next(
        self,
        last: Activation | None,
        action: Literal["activate", "roll_back", "shadow"],
        *,
        account: str,
        reason: str,
    ) -> Activation:
        """An entry that leaves everything as it is after `last`."""
        version = None if last is None else last.version
        previous = version
        if previous is None:
            try:
                previous = await self._catalogue.default()
            except ModelUnavailable:
                previous = None
        return Activation(
            number=1 if last is None else last.number + 1,
            at=self._clock.now(),
            account=account,
            action=action,
            previous=previous,
            version=version,
            shadow=None if last is None else last.shadow,
            reason=reason,
        )

    async def _record(self, entry: Activation) -> Activation:
        # A version that is to answer cannot be its own shadow.
        entry = replace(entry, shadow=None if entry.shadow == entry.version else entry.shadow)
        event = AuditEvent(
            at=entry.at,
            account=entry.account,
            action=_AUDITED[entry.action],
            subject=entry.shadow if entry.action == "shadow" else entry.version,
            details={"activation": entry.number},
        )
        await self._registry.append(entry, audit=event)
        return entry


class ActivateModel(_Decision):
    """Lets another version answer."""

    async def __call__(self, version: str, *, account: str, reason: str) -> Activation:
        """The decision that `version` answers, as it is recorded; a shadow of that version ends.

        Raises:
            AlreadyActive: it is on record as the one that answers.
            UnknownModel: there is no such version.
            ModelRefused: it cannot be loaded here, so nothing is recorded.
            ActivationConflict: somebody else has decided meanwhile.
            Unavailable: it may or may not have been recorded.
        """
        last = await self._registry.current()
        if last is not None and last.version == version:
            raise AlreadyActive(version)
        await self._catalogue.load(version)
        entry = await self._next(last, "activate", account=account, reason=reason)
        return await self._record(replace(entry, version=version))


class RollBackModel(_Decision):
    """Lets the version answer that did before the last activation."""

    async def __call__(self, *, account: str, reason: str) -> Activation:
        """The decision to go back, as it is recorded. A second one goes back further.

        Raises:
            NothingToUndo: there is no earlier version.
            UnknownModel: the earlier version is there no more.
            ModelRefused: it cannot be loaded here, so nothing is recorded.
            ActivationConflict: somebody else has decided meanwhile.
            Unavailable: it may or may not have been recorded.
        """
        log = await self._registry.log()
        version = rollback_target(log)
        if version is None:
            raise NothingToUndo("there is no earlier version to roll back to")
        await self._catalogue.load(version)
        entry = await self._next(log[-1], "roll_back", account=account, reason=reason)
        return await self._record(replace(entry, version=version))


class ShadowModel(_Decision):
    """Lets a version score the same requests as the active one, without answering; or no more."""

    async def __call__(self, version: str | None, *, account: str, reason: str) -> Activation:
        """The decision that `version` is the shadow, as it is recorded; None ends the one there is.

        Raises:
            AlreadyActive: it is the version that answers.
            NothingToUndo: there is no shadow to end.
            UnknownModel: there is no such version.
            ModelRefused: it cannot be loaded here, so nothing is recorded.
            ActivationConflict: somebody else has decided meanwhile.
            Unavailable: it may or may not have been recorded.
        """
        last = await self._registry.current()
        entry = await self._next(last, "shadow", account=account, reason=reason)
        if version is None and entry.shadow is None:
            raise NothingToUndo("there is no shadow to end")
        if version is not None:
            if version == entry.previous:
                raise AlreadyActive(version)
            await self._catalogue.load(version)
        return await self._record(replace(entry, shadow=version))
