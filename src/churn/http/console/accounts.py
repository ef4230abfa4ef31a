"""Accounts: everybody's, for admins, and one's own password."""

from typing import Annotated, Any

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.params import PathParameter
from litestar.response import Redirect
from msgspec import UNSET, UnsetType

from churn.domain.account import Role, is_username
from churn.domain.errors import (
    InvalidCredentials,
    InvalidUsername,
    LastAdmin,
    UnknownAccount,
    UsernameTaken,
    WeakPassword,
)
from churn.http.accounts import PASSWORD_RULES
from churn.http.authentication import address_of
from churn.http.console.page import ConsoleRequest, page
from churn.http.console.reading import text_of
from churn.http.console.session import SessionCookie
from churn.http.console.words import TEXTS
from churn.http.language import chosen_language
from churn.ports import UserStore
from churn.use_cases.accounts import ChangeAccount, ChangePassword, CreateAccount
from churn.use_cases.sessions import SignIn

_LONGEST = 1000

Username = Annotated[str, PathParameter()]


class AccountsController(Controller):
    """Who may use the service."""

    path = "/accounts"
    opt = {"role": Role.ADMIN}

    @get()
    async def find(self, request: ConsoleRequest, users: NamedDependency[UserStore]) -> Response[str]:
        """Every account, and a form for a new one."""
        return await _list(request, users)

    @post(status_code=303)
    async def create(
        self,
        request: ConsoleRequest,
        users: NamedDependency[UserStore],
        create_account: NamedDependency[CreateAccount],
    ) -> Response[Any]:
        """To the account, or the form with what is wrong with it."""
        form = await request.form()
        texts = TEXTS[chosen_language(request)]["accounts"]
        username, role = text_of(form, "username"), text_of(form, "role")
        wrong: dict[str, str] = {}
        if role not in Role:
            wrong["role"] = texts["wrong_role"]
        if not is_username(username):
            wrong["username"] = texts["wrong_username"]
        if not wrong:
            try:
                account = await create_account(
                    username, _password(form.get("password")), Role(role), by=request.user.username
                )
            except InvalidUsername:
                wrong["username"] = texts["wrong_username"]
            except UsernameTaken:
                wrong["username"] = texts["taken"]
            except WeakPassword as error:
                wrong["password"] = PASSWORD_RULES[error.rule][chosen_language(request)]
            else:
                return Redirect(f"/console/accounts/{account.username}?done=created", status_code=303)
        return await _list(request, users, typed={"username": username, "role": role}, wrong=wrong)

    @get("/{username:str}")
    async def read(
        self, request: ConsoleRequest, username: Username, users: NamedDependency[UserStore]
    ) -> Response[str]:
        """One account, and the forms to change it."""
        return await _one(request, users, username)

    @post("/{username:str}", status_code=303)
    async def change(
        self,
        request: ConsoleRequest,
        username: Username,
        users: NamedDependency[UserStore],
        change_account: NamedDependency[ChangeAccount],
    ) -> Response[Any]:
        """To the account as it is now, or the form with what is wrong with it."""
        form = await request.form()
        language = chosen_language(request)
        role, disabled, password = text_of(form, "role"), form.get("disabled"), form.get("password")
        try:
            await change_account(
                username,
                role=Role(role) if role in Role else UNSET,
                disabled=_flag(disabled),
                password=UNSET if password is None else _password(password),
                by=request.user.username,
            )
        except LastAdmin:
            return await _one(request, users, username, wrong={"account": TEXTS[language]["accounts"]["last_admin"]})
        except WeakPassword as error:
            return await _one(request, users, username, wrong={"password": PASSWORD_RULES[error.rule][language]})
        return Redirect(f"/console/accounts/{username}?done=changed", status_code=303)


class OwnAccountController(Controller):
    """One's own password."""

    path = "/account"

    @get(sync_to_thread=False)
    def read(self, request: ConsoleRequest) -> Response[str]:
        """The form."""
        return page(request, "account.html", "accounts", wrong={}, done="done" in request.query_params)

    @post(status_code=303)
    async def change(
        self,
        request: ConsoleRequest,
        change_password: NamedDependency[ChangePassword],
        sign_in: NamedDependency[SignIn],
        session_cookie: NamedDependency[SessionCookie],
    ) -> Response[Any]:
        """To the form, signed in with the new password, which ends every other session; or what is wrong."""
        form = await request.form()
        username, address = request.user.username, address_of(request.scope)
        language = chosen_language(request)
        current, new = _password(form.get("current")), _password(form.get("new"))
        wrong: dict[str, str] = {}
        try:
            await change_password(username, current=current, new=new, address=address)
        except InvalidCredentials:
            wrong["current"] = TEXTS[language]["accounts"]["wrong_current"]
        except WeakPassword as error:
            wrong["new"] = PASSWORD_RULES[error.rule][language]
        if wrong:
            return page(request, "account.html", "accounts", status_code=422, wrong=wrong, done=False)
        signed_in = await sign_in(username, new, address=address, replaces=request.auth)
        response: Response[Any] = Redirect("/console/account?done", status_code=303)
        response.set_cookie(session_cookie.holding(signed_in.token))
        return response


async def _list(
    request: ConsoleRequest,
    users: UserStore,
    *,
    typed: dict[str, str] | None = None,
    wrong: dict[str, str] | None = None,
) -> Response[str]:
    return page(
        request,
        "accounts.html",
        "accounts",
        status_code=422 if wrong else 200,
        accounts=await users.all(),
        typed=typed or {"username": "", "role": Role.ANALYST.value},
        wrong=wrong or {},
    )


async def _one(
    request: ConsoleRequest, users: UserStore, username: str, *, wrong: dict[str, str] | None = None
) -> Response[str]:
    shown = await users.get(username)
    if shown is None:
        raise UnknownAccount(username)
    return page(
        request,
        "accounts_one.html",
        "accounts",
        status_code=422 if wrong else 200,
        shown=shown,
        wrong=wrong or {},
        done=request.query_params.get("done", ""),
    )


def _password(value: object) -> str:
    # As it was typed: a space at its end is a character like any other.
    return value[:_LONGEST] if isinstance(value, str) else ""


def _flag(value: object) -> bool | UnsetType:
    return {"1": True, "0": False}.get(value, UNSET) if isinstance(value, str) else UNSET
