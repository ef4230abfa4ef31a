"""`churn audit`, over a real PostgreSQL."""

import asyncio
import re

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from churn.cli import main


@pytest.fixture
def run(database_url, engine):
    """Runs `churn` with the arguments given."""

    async def run(*arguments, stdin=""):
        invoke = CliRunner(env={"CHURN_DATABASE_URL": database_url}).invoke
        return await asyncio.to_thread(invoke, main, arguments, input=stdin)

    return run


@pytest.fixture
async def trail(run):
    """Two entries: somebody has created accounts from the command line."""
    for name in ("anne", "bruno"):
        assert (await run("users", "add", name, stdin="cheval agrafe pile")).exit_code == 0


async def tamper(engine, statement):
    async with engine.begin() as connection:
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        await connection.execute(text(statement))


@pytest.mark.usefixtures("trail")
async def test_what_was_done_is_listed(run):
    """Newest first, with who, what and when."""
    lines = (await run("audit", "list")).output.splitlines()
    assert len(lines) == 2
    assert re.fullmatch(
        r'2  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC  cli:\w*  account-created  bruno  \{"role":"analyst"\}', lines[0]
    )
    assert (await run("audit", "list", "--limit", "1")).output.splitlines() == lines[:1]
    assert (await run("audit", "list", "--before", "2")).output.splitlines() == lines[1:]


@pytest.mark.usefixtures("trail")
async def test_an_untouched_trail_is_unbroken(run):
    """Also against its head, as printed earlier."""
    head = (await run("audit", "head")).output.strip()
    assert re.fullmatch(r"2:[0-9a-f]{64}", head)
    await run("users", "disable", "bruno")
    result = await run("audit", "verify", "--expect", head)
    assert (result.exit_code, result.output) == (0, "3 entries, unbroken\n")


@pytest.mark.usefixtures("trail")
@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE audit_entry SET account = 'mallory' WHERE number = 1", "entry 1 is altered"),
        ("DELETE FROM audit_entry WHERE number = 1", "entry 1 is missing"),
    ],
)
async def test_a_breach_is_told_and_fails(run, engine, statement, found):
    """With the entry's number, and exit status 1."""
    await tamper(engine, statement)
    result = await run("audit", "verify")
    assert (result.exit_code, result.output) == (1, found + "\n")


@pytest.mark.usefixtures("trail")
async def test_a_tail_that_was_cut_off_shows_against_an_earlier_head(run, engine):
    """And only against that."""
    head = (await run("audit", "head")).output.strip()
    await tamper(engine, "DELETE FROM audit_entry WHERE number = 2")
    assert (await run("audit", "verify")).exit_code == 0
    result = await run("audit", "verify", "--expect", head)
    assert result.exit_code == 1
    assert "the expected head is not there" in result.output


async def test_an_empty_trail_has_no_head(run):
    """But it is unbroken."""
    assert (await run("audit", "head")).exit_code == 1
    assert (await run("audit", "verify")).output == "0 entries, unbroken\n"


@pytest.mark.parametrize("head", ["", "2", "2:", "x:00", "2:zz"])
async def test_a_head_that_is_none_is_refused(run, head):
    """It must be what `head` prints."""
    assert (await run("audit", "verify", "--expect", head)).exit_code == 2
