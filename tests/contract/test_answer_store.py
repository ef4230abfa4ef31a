"""What every `AnswerStore` must do."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from churn.adapters.memory import MemoryAnswerStore
from churn.adapters.postgres.answers import PostgresAnswerStore
from churn.domain.answer import Answer
from churn.domain.errors import KeyReused
from churn.ports import AnswerStore

NOW = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
ANSWER = Answer("application/json", b'{"a": 1}')


@pytest.fixture(params=["memory", "postgres"])
def answers(request, engine):
    """A store without a key."""
    return (
        MemoryAnswerStore()
        if request.param == "memory"
        else PostgresAnswerStore(engine, concurrency=2, lock_timeout=5.0)
    )


async def kept(answers, key=KEY, fingerprint=b"1", answer=ANSWER, at=NOW):
    """What was kept under `key` before; `answer` is kept now if there was nothing."""
    async with answers.attempt(key, fingerprint, at=at) as attempt:
        before, attempt.answer = attempt.answer, attempt.answer or answer
    return before


def test_it_fills_the_port(answers):
    """It has the methods of the port."""
    assert isinstance(answers, AnswerStore)


async def test_the_first_answer_is_kept(answers):
    """Every later attempt finds the answer of the first; another key has none."""
    assert await kept(answers) is None
    for _ in range(2):
        assert await kept(answers, answer=Answer("text/csv", b"other")) == ANSWER
    assert await kept(answers, OTHER) is None


async def test_another_request_under_the_key_is_refused(answers):
    """The key stands for one request; refusing another changes nothing."""
    await kept(answers)
    with pytest.raises(KeyReused):
        await kept(answers, fingerprint=b"2")
    assert await kept(answers) == ANSWER


async def test_what_fails_leaves_no_key(answers):
    """After an error the next attempt is the first, also for another request."""
    with pytest.raises(ZeroDivisionError):
        async with answers.attempt(KEY, b"1", at=NOW):
            raise ZeroDivisionError
    assert await kept(answers, fingerprint=b"2") is None


async def test_the_second_waits_for_the_first(answers):
    """Of two attempts at once the second gets the answer of the first, or is the first if that one fails."""
    for fails in (False, True):
        key = OTHER if fails else KEY
        first = answers.attempt(key, b"1", at=NOW)
        begun = await first.__aenter__()
        second = asyncio.create_task(kept(answers, key))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not second.done()
        begun.answer = ANSWER
        error = ZeroDivisionError() if fails else None
        assert not await first.__aexit__(type(error) if error else None, error, None)
        assert await second == (None if fails else ANSWER)


async def test_keys_are_forgotten(answers):
    """What was kept before the moment is forgotten, what was kept since is not."""
    await kept(answers)
    await kept(answers, OTHER, at=NOW + timedelta(seconds=1))
    await answers.purge(before=NOW + timedelta(seconds=1))
    assert await kept(answers, fingerprint=b"2") is None
    assert await kept(answers, OTHER) == ANSWER
