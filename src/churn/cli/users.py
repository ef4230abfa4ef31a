"""`churn users`."""

import sys

import click
from msgspec import UNSET, UnsetType

from churn.cli.run import actor, run
from churn.domain.account import Account, Role


@click.group()
def users() -> None:
    """Manage who may use the service.

    Works beside a running service, which heeds each change at once. A password is asked for twice on a
    terminal; otherwise it is the first line of the standard input. Brings the database up to date first,
    as `churn serve` does.
    """


@users.command()
@click.argument("username")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.ANALYST.value,
    show_default=True,
    help="An admin also manages accounts and models.",
)
def add(username: str, role: str) -> None:
    """Create an account."""
    password = _read_password()
    account = run(lambda container: container.create_account()(username, password, Role(role), by=actor()))
    click.echo(f"{account.username} is created, as {account.role}")


@users.command()
@click.argument("username")
def passwd(username: str) -> None:
    """Give an account another password."""
    _change(username, password=_read_password())
    click.echo(f"{username} has a new password")


@users.command()
@click.argument("username")
def disable(username: str) -> None:
    """Keep an account from signing in; what it did stays."""
    _change(username, disabled=True)
    click.echo(f"{username} is disabled")


@users.command()
@click.argument("username")
def enable(username: str) -> None:
    """Let a disabled account sign in again."""
    _change(username, disabled=False)
    click.echo(f"{username} is enabled")


@users.command("list")
def list_() -> None:
    """Show every account."""
    for account in run(lambda container: container.users().all()):
        state = "disabled" if account.disabled else "enabled"
        click.echo(f"{account.username:<24}  {account.role:<8}  {state:<8}  {account.created_at:%Y-%m-%d}")


def _change(username: str, *, password: str | UnsetType = UNSET, disabled: bool | UnsetType = UNSET) -> Account:
    return run(lambda container: container.change_account()(username, by=actor(), password=password, disabled=disabled))


def _read_password() -> str:
    """The password, never from the command line, which other users of the machine can see."""
    if sys.stdin.isatty():
        password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
        return password
    return sys.stdin.readline().rstrip("\r\n")
