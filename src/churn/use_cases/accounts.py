"""Who may use the service."""

from collections.abc import Callable

from msgspec import UNSET, UnsetType

from churn.domain.account import Account, Role, check_username
from churn.domain.audit import Action, AuditEvent
from churn.domain.password import check_password
from churn.ports import Clock, PasswordHasher, UserStore
from churn.use_cases.authenticate import Authenticate


class CreateAccount:
    """Lets somebody in."""

    def __init__(
        self, *, users: UserStore, hasher: PasswordHasher, clock: Clock, is_common: Callable[[str], bool]
    ) -> None:
        """`is_common` tells whether a password is among those that attackers try first."""
        self._users = users
        self._hasher = hasher
        self._clock = clock
        self._is_common = is_common

    async def __call__(self, username: str, password: str, role: Role, *, by: str) -> Account:
        """The new account, enabled, created by the account `by`.

        Raises:
            InvalidUsername: no account can have that name.
            WeakPassword: the password breaks the policy.
            UsernameTaken: somebody has that name.
            Unavailable: the account may or may not have been created.
        """
        check_username(username)
        password = check_password(password, username=username, is_common=self._is_common)
        account = Account(
            username=username,
            role=role,
            password_hash=await self._hasher.hash(password),
            created_at=self._clock.now(),
        )
        event = AuditEvent(
            at=account.created_at,
            account=by,
            action=Action.ACCOUNT_CREATED,
            subject=username,
            details={"role": role.value},
        )
        await self._users.add(account, audit=event)
        return account


class ChangeAccount:
    """Gives an account another password or role, disables it, or enables it again."""

    def __init__(
        self,
        *,
        users: UserStore,
        hasher: PasswordHasher,
        clock: Clock,
        authenticate: Authenticate,
        is_common: Callable[[str], bool],
    ) -> None:
        """`is_common` tells whether a password is among those that attackers try first."""
        self._users = users
        self._hasher = hasher
        self._clock = clock
        self._authenticate = authenticate
        self._is_common = is_common

    async def __call__(
        self,
        username: str,
        *,
        by: str,
        password: str | UnsetType = UNSET,
        role: Role | UnsetType = UNSET,
        disabled: bool | UnsetType = UNSET,
    ) -> Account:
        """The account with what is given changed by the account `by`; what is remembered of it is void.

        Raises:
            UnknownAccount: nobody has that name.
            WeakPassword: the password breaks the policy.
            LastAdmin: nobody would be left to manage accounts.
            Unavailable: the account may or may not have been changed.
        """
        password_hash: str | UnsetType = UNSET
        if password is not UNSET:
            password = check_password(password, username=username, is_common=self._is_common)
            password_hash = await self._hasher.hash(password)
        # That there is a new password, never which.
        changes = {"password": UNSET if password is UNSET else True, "role": role, "disabled": disabled}
        event = AuditEvent(
            at=self._clock.now(),
            account=by,
            action=Action.ACCOUNT_CHANGED,
            subject=username,
            details={name: value for name, value in changes.items() if value is not UNSET},
        )
        try:
            return await self._users.update(
                username, password_hash=password_hash, role=role, disabled=disabled, audit=event
            )
        finally:
            # Other processes hear of it; here it holds before the answer is out.
            self._authenticate.distrust(username)


class ChangePassword:
    """Lets somebody replace a password that they know."""

    def __init__(self, *, authenticate: Authenticate, change_account: ChangeAccount) -> None:
        self._authenticate = authenticate
        self._change_account = change_account

    async def __call__(self, username: str, *, current: str, new: str, address: str) -> Account:
        """The account with the password `new`, if `current` is its password.

        Raises:
            InvalidCredentials: it is not. That counts as a failed sign-in from `address`.
            TooManyAttempts: too many sign-ins failed.
            WeakPassword: `new` breaks the policy.
            Unavailable: the password may or may not have been changed.
        """
        await self._authenticate(username, current, address)
        return await self._change_account(username, by=username, password=new)
