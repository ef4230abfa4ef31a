"""`churn users`, over a real PostgreSQL."""

import asyncio
import os
import pty
import subprocess
import sys

import pytest
from click.testing import CliRunner

from churn.adapters.argon2_hasher import Argon2PasswordHasher
from churn.adapters.postgres.users import PostgresUserStore
from churn.cli import main
from churn.domain.account import Role
from churn.use_cases.authenticate import Authenticate

PASSWORD = "cheval agrafe pile"


@pytest.fixture
def run(database_url, engine):
    """Runs `churn users` with the arguments given and what it is to read."""

    async def run(*arguments, stdin=""):
        invoke = CliRunner(env={"CHURN_DATABASE_URL": database_url}).invoke
        # In a thread, because the command has an event loop of its own.
        return await asyncio.to_thread(invoke, main, ["users", *arguments], input=stdin)

    return run


@pytest.fixture
def users(engine):
    """The accounts, as they are stored."""
    return PostgresUserStore(engine)


@pytest.fixture
async def anne(run):
    """The first account, an admin."""
    result = await run("add", "anne", "--role", "admin", stdin=PASSWORD + "\n")
    assert result.exit_code == 0, result.output
    return "anne"


async def test_an_added_account_can_sign_in(run, users, clock):
    """With the password of the standard input, less its line end; an analyst unless said otherwise."""
    result = await run("add", "bruno", stdin=PASSWORD + "\r\n")
    assert result.exit_code == 0
    assert PASSWORD not in result.output
    hasher = Argon2PasswordHasher(concurrency=1, queue_size=0)
    authenticate = Authenticate(
        users=users, hasher=hasher, clock=clock, credential_ttl=0, failures_per_account=1, failures_per_address=1,
        on_refused=lambda *_, **__: None,
    )  # fmt: skip
    assert (await authenticate("bruno", PASSWORD, "")).role is Role.ANALYST
    hasher.close()


async def test_a_new_password_replaces_the_old_one(run, users, anne):
    """And nothing else of the account changes."""
    before = await users.get(anne)
    assert (await run("passwd", anne, stdin="another " + PASSWORD)).exit_code == 0
    after = await users.get(anne)
    assert after.password_hash != before.password_hash
    assert (after.role, after.disabled, after.created_at) == (before.role, before.disabled, before.created_at)


async def test_an_account_is_disabled_and_enabled(run, users, anne):
    """Both can be seen in the list."""
    await run("add", "bruno", stdin=PASSWORD)
    for command, state in [("disable", "disabled"), ("enable", "enabled")]:
        assert (await run(command, "bruno")).exit_code == 0
        assert (await users.get("bruno")).disabled is (command == "disable")
        lines = [line.split() for line in (await run("list")).output.splitlines()]
        assert [line[:3] for line in lines] == [["anne", "admin", "enabled"], ["bruno", "analyst", state]]


@pytest.mark.parametrize(
    "attempt",
    [
        (["add", "anne"], PASSWORD, "the username 'anne' is taken"),
        (["add", "Bruno"], PASSWORD, "a username has 3 to 64 characters"),
        (["add", "bruno"], "", "a password has 12 to 256 characters"),
        (["add", "bruno"], "azertyuiop123", "among the most common ones"),
        (["add", "bruno"], "bruno is my name", "must not contain the username"),
        (["passwd", "nobody"], PASSWORD, "there is no account 'nobody'"),
        (["disable", "anne"], "", "'anne' is the last enabled admin"),
        (["enable", "nobody"], "", "there is no account 'nobody'"),
    ],
)
@pytest.mark.usefixtures("anne")
async def test_what_cannot_be_done_is_said(run, users, attempt):
    """On one line, with a failing exit status, and nothing changes."""
    arguments, stdin, message = attempt
    before = await users.all()
    result = await run(*arguments, stdin=stdin)
    assert result.exit_code == 1
    assert message in result.output
    assert result.output.startswith("Error: ")
    assert len(result.output.splitlines()) == 1
    assert await users.all() == before


@pytest.mark.parametrize(
    "arguments", [["add", "bruno", PASSWORD], ["passwd", "anne", PASSWORD], ["add", "bruno", "--password", PASSWORD]]
)
async def test_a_password_is_never_an_argument(run, arguments):
    """Everyone on the machine can read those."""
    assert (await run(*arguments)).exit_code == 2


@pytest.mark.parametrize("answers", [[PASSWORD, PASSWORD], [PASSWORD, "mistyped", PASSWORD, PASSWORD]])
async def test_on_a_terminal_the_password_is_asked_for_twice(database_url, users, answers):
    """It is not shown, and two that differ are asked for again."""

    def converse():
        terminal, theirs = pty.openpty()
        with subprocess.Popen(
            [sys.executable, "-c", "from churn.cli import main; main()", "users", "add", "bruno"],
            env=os.environ | {"CHURN_DATABASE_URL": database_url},
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        ) as process:  # fmt: skip
            os.close(theirs)
            screen = b""
            for answer in answers:
                prompt = b""
                while not prompt.endswith(b": "):
                    prompt += os.read(terminal, 1024)
                os.write(terminal, answer.encode() + b"\n")
                screen += prompt
            try:
                while chunk := os.read(terminal, 1024):
                    screen += chunk
            except OSError:  # the terminal is gone with the process
                pass
            os.close(terminal)
            return process.wait(), screen.decode()

    status, screen = await asyncio.to_thread(converse)
    assert status == 0, screen
    assert PASSWORD not in screen
    assert await users.get("bruno")
