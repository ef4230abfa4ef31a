"""`/users`: who may use the service."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from litestar import Controller, Request, get, patch, post, put
from litestar.di import NamedDependency
from litestar.params import JSONBody, PathParameter
from msgspec import UNSET, Meta, UnsetType

from churn.domain.account import USERNAME_PATTERN, Account, Role
from churn.domain.errors import PasswordRule, WeakPassword
from churn.domain.expectation import Text
from churn.domain.language import Language
from churn.domain.password import MAX_LENGTH, MIN_LENGTH
from churn.http.authentication import address_of
from churn.http.json_body import FieldError, InvalidBody, StrictJSON
from churn.http.operation import TrueOperation
from churn.http.problems import problem_responses
from churn.ports import UserStore
from churn.use_cases.accounts import ChangeAccount, ChangePassword, CreateAccount

AccountRequest = Request[Account, object, Any]

Username = Annotated[
    str,
    Meta(
        pattern=USERNAME_PATTERN,
        title="Nom",
        description="3 à 64 caractères parmi a-z, 0-9 et . _ @ -, en commençant par une lettre ou un chiffre.",
        examples=["anne.martin"],
    ),
]
Password = Annotated[
    str,
    Meta(
        min_length=MIN_LENGTH,
        max_length=MAX_LENGTH,
        title="Mot de passe",
        description="12 à 256 caractères ; ni courant, ni contenant le nom du compte.",
        extra_json_schema={"format": "password", "writeOnly": True},
    ),
]

#: What each rule of the policy asks for.
PASSWORD_RULES: Final[dict[PasswordRule, Text]] = {
    PasswordRule.LENGTH: {
        Language.FR: f"Doit compter de {MIN_LENGTH} à {MAX_LENGTH} caractères.",
        Language.EN: f"Must have {MIN_LENGTH} to {MAX_LENGTH} characters.",
    },
    PasswordRule.CONTROL: {
        Language.FR: "Ne doit pas contenir de caractère de contrôle.",
        Language.EN: "Must not have control characters.",
    },
    PasswordRule.USERNAME: {
        Language.FR: "Ne doit pas contenir le nom du compte.",
        Language.EN: "Must not contain the username.",
    },
    PasswordRule.COMMON: {
        Language.FR: "Figure parmi les mots de passe les plus courants.",
        Language.EN: "Is among the most common passwords.",
    },
}


class AccountView(msgspec.Struct, frozen=True):
    """Un compte, sans ce qui permettrait d'en attaquer le mot de passe."""

    username: Username
    role: Role
    disabled: bool
    created_at: datetime

    @classmethod
    def of(cls, account: Account) -> "AccountView":
        """What may be shown of `account`."""
        return cls(account.username, account.role, account.disabled, account.created_at)


class NewAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Un compte à créer."""

    username: Username
    password: Password
    role: Role


class AccountChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ce qui change dans un compte ; ce qui est absent reste."""

    role: Role | UnsetType = UNSET
    password: Password | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET


class PasswordChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Un nouveau mot de passe, et la preuve que l'on connaît l'ancien."""

    current: Annotated[
        str, Meta(max_length=MAX_LENGTH, title="Mot de passe actuel", extra_json_schema={"writeOnly": True})
    ]
    new: Password


class AccountController(Controller):
    """Accounts, for admins; each account's own, for its owner."""

    path = "/users"
    tags = ["Comptes"]
    security = [{"basic": []}]

    @get(
        opt={"role": Role.ADMIN},
        summary="Lister les comptes",
        operation_class=TrueOperation,
        responses=problem_responses(401, 403, 429, 503),
    )
    async def find(self, users: NamedDependency[UserStore]) -> list[AccountView]:
        """Every account, disabled ones included, by username."""
        return [AccountView.of(account) for account in await users.all()]

    @post(
        opt={"role": Role.ADMIN},
        dto=StrictJSON[NewAccount],
        return_dto=None,
        summary="Créer un compte",
        description="`409` si le nom est pris. Un compte ne se supprime pas : il se désactive.",
        operation_class=TrueOperation,
        responses=problem_responses(401, 403, 409, 413, 415, 422, 429, 503),
    )
    async def create(
        self, request: AccountRequest, data: JSONBody[NewAccount], create_account: NamedDependency[CreateAccount]
    ) -> AccountView:
        """The new account."""
        with _weakness_of("password"):
            return AccountView.of(
                await create_account(data.username, data.password, data.role, by=request.user.username)
            )

    @patch(
        "/{username:str}",
        opt={"role": Role.ADMIN},
        dto=StrictJSON[AccountChange],
        return_dto=None,
        summary="Changer un compte",
        description=(
            "Prend effet aussitôt, aussi pour qui est déjà identifié. `409` si plus personne ne pourrait gérer "
            "les comptes : le dernier administrateur actif ne peut être ni désactivé ni rétrogradé."
        ),
        operation_class=TrueOperation,
        responses=problem_responses(401, 403, 404, 409, 413, 415, 422, 429, 503),
    )
    async def change(
        self,
        request: AccountRequest,
        username: Annotated[str, PathParameter(description="Nom du compte.")],
        data: JSONBody[AccountChange],
        change_account: NamedDependency[ChangeAccount],
    ) -> AccountView:
        """The account as it is now."""
        with _weakness_of("password"):
            return AccountView.of(
                await change_account(
                    username,
                    by=request.user.username,
                    password=data.password,
                    role=data.role,
                    disabled=data.disabled,
                )
            )

    @get(
        "/me",
        summary="Relire son compte",
        operation_class=TrueOperation,
        responses=problem_responses(401, 429, 503),
        sync_to_thread=False,
    )
    def me(self, request: AccountRequest) -> AccountView:
        """The account that asks."""
        return AccountView.of(request.user)

    @put(
        "/me/password",
        dto=StrictJSON[PasswordChange],
        return_dto=None,
        status_code=204,
        summary="Changer son mot de passe",
        description="`401` si `current` n'est pas le mot de passe actuel : l'échec compte comme un autre.",
        operation_class=TrueOperation,
        responses=problem_responses(401, 413, 415, 422, 429, 503),
    )
    async def change_password(
        self, request: AccountRequest, data: JSONBody[PasswordChange], change_password: NamedDependency[ChangePassword]
    ) -> None:
        """Nothing: the next request signs in with the new password."""
        with _weakness_of("new"):
            await change_password(
                request.user.username, current=data.current, new=data.new, address=address_of(request.scope)
            )


@contextmanager
def _weakness_of(field: str) -> Iterator[None]:
    """Blame a password that breaks the policy on the field of the body that it came in."""
    try:
        yield
    except WeakPassword as error:
        raise InvalidBody([FieldError(f"/{field}", "weak", PASSWORD_RULES[error.rule])]) from None
