"""What every `PasswordHasher` must do."""

import asyncio
import os
import sys
import threading
import time
from contextlib import asynccontextmanager

import argon2
import pytest
from argon2.profiles import CHEAPEST, RFC_9106_LOW_MEMORY

from churn.adapters.argon2_hasher import Argon2PasswordHasher
from churn.adapters.memory import MemoryPasswordHasher
from churn.domain.errors import PasswordHasherBusy
from churn.ports import PasswordHasher

PASSWORD = "cheval agrafe pile correcte é🐎"


@asynccontextmanager
async def argon2_hashers():
    current = Argon2PasswordHasher(concurrency=2, queue_size=8, parameters=CHEAPEST)
    former = Argon2PasswordHasher(concurrency=2, queue_size=8, parameters=argon2.Parameters(**STRONGER))
    yield current, former
    current.close()
    former.close()


@asynccontextmanager
async def memory_hashers():
    yield MemoryPasswordHasher(), MemoryPasswordHasher(cost=2)


STRONGER = {name: getattr(CHEAPEST, name) for name in CHEAPEST.__slots__} | {"time_cost": 2}


@pytest.fixture(params=[argon2_hashers, memory_hashers])
async def hashers(request):
    """A hasher, and one of the same kind with other parameters."""
    async with request.param() as hashers:
        yield hashers


@pytest.fixture
def hasher(hashers):
    """A hasher."""
    return hashers[0]


def test_it_fills_the_port(hasher):
    """It has the methods of the port."""
    assert isinstance(hasher, PasswordHasher)


async def test_a_hash_fits_its_password_and_no_other(hasher):
    """Only the very same text is right."""
    stored = await hasher.hash(PASSWORD)
    assert await hasher.verify(stored, PASSWORD)
    for wrong in ["", PASSWORD[:-1], PASSWORD + " ", PASSWORD.upper()]:
        assert not await hasher.verify(stored, wrong)


async def test_a_hash_is_salted_and_hides_the_password(hasher):
    """Two hashes of one password differ, are PHC strings, and do not contain it."""
    first, second = await hasher.hash(PASSWORD), await hasher.hash(PASSWORD)
    assert first != second
    assert first.startswith("$")
    assert PASSWORD not in first


async def test_no_password_is_right_for_an_unknown_user(hasher):
    """None never verifies, whatever is tried."""
    for password in ["", PASSWORD]:
        assert not await hasher.verify(None, password)


@pytest.mark.parametrize("damaged", ["", "x", "$argon2id$", "$argon2id$v=19$m=8,t=1,p=1$!!$!!", "é" * 97, "a$b$c$d$e"])
async def test_a_damaged_hash_is_one_that_no_password_fits(hasher, damaged):
    """A row that was corrupted is a failed sign-in, not a failure of the service."""
    assert not await hasher.verify(damaged, PASSWORD)
    assert hasher.needs_rehash(damaged)


async def test_a_cut_hash_is_one_that_no_password_fits(hasher):
    """Also when what is left of it can still be read."""
    stored = await hasher.hash(PASSWORD)
    for length in range(len(stored)):
        assert not await hasher.verify(stored[:length], PASSWORD)


async def test_a_lone_surrogate_is_a_wrong_password(hasher):
    """Text that UTF-8 cannot carry is refused like any other wrong password."""
    assert not await hasher.verify(await hasher.hash(PASSWORD), "\ud800")


async def test_a_hash_with_other_parameters_verifies_and_asks_for_a_rehash(hashers):
    """Parameters can be raised without a reset of every password."""
    current, former = hashers
    stored = await former.hash(PASSWORD)
    assert await current.verify(stored, PASSWORD)
    assert current.needs_rehash(stored)
    assert not current.needs_rehash(await current.hash(PASSWORD))


# What only real work can show.


@pytest.fixture
def real():
    """argon2id as in production; one call at a time, and one more may wait."""
    hasher = Argon2PasswordHasher(concurrency=1, queue_size=1)
    yield hasher
    hasher.close()


async def test_the_default_is_the_low_memory_profile_of_rfc_9106(real):
    """argon2id, 64 MiB, 3 passes, 4 lanes."""
    stored = await real.hash(PASSWORD)
    assert argon2.extract_parameters(stored) == RFC_9106_LOW_MEMORY
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


async def test_unknown_wrong_and_damaged_cost_the_same(real):
    """The time of an answer does not tell whether the account exists."""
    stored = await real.hash(PASSWORD)

    async def cost(password_hash):
        costs = []
        for _ in range(5):
            start = time.process_time()
            assert not await real.verify(password_hash, "wrong")
            costs.append(time.process_time() - start)
        return min(costs)

    wrong = await cost(stored)
    for other in [await cost(None), await cost("damaged"), await cost(stored[:-4] + "!!!!")]:
        assert other == pytest.approx(wrong, rel=0.3)


async def test_the_event_loop_goes_on_meanwhile(real):
    """Other requests are served while a password is verified."""
    verification = asyncio.create_task(real.verify(None, PASSWORD))
    turns = 0
    while not verification.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 100


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have neither")
async def test_it_takes_half_of_the_cores_and_yields_on_those(real):
    """A crowd that guesses leaves a core to those who are signed in, and never goes before them on another."""
    before = {thread.native_id for thread in threading.enumerate()}
    await real.verify(None, PASSWORD)
    own = os.sched_getaffinity(0)
    (hashing,) = [thread.native_id for thread in threading.enumerate() if thread.native_id not in before]
    assert os.getpriority(os.PRIO_PROCESS, hashing) > os.getpriority(os.PRIO_PROCESS, 0)
    assert os.sched_getaffinity(hashing) < own or len(own) == 1
    assert 1 <= len(os.sched_getaffinity(hashing)) <= (len(own) + 1) // 2


async def test_too_many_calls_are_refused_at_once(real):
    """One runs and one waits; the others are told so instead of waiting."""
    answers = await asyncio.gather(*(real.verify(None, PASSWORD) for _ in range(5)), return_exceptions=True)
    assert answers[:2] == [False, False]
    assert [type(answer) for answer in answers[2:]] == [PasswordHasherBusy] * 3
    assert await real.verify(None, PASSWORD) is False


async def test_a_cancelled_call_leaves_its_place(real):
    """Clients that hang up while they wait do not use the places up."""
    running = asyncio.create_task(real.verify(None, PASSWORD))
    for _ in range(5):
        waiting = asyncio.create_task(real.verify(None, PASSWORD))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert await real.verify(None, PASSWORD) is False
    assert await running is False


async def test_a_cancelled_call_that_runs_keeps_its_place_until_it_ends(real):
    """Hanging up does not let more calls run than the bound allows, and in the end all places are free."""
    cancelled = [asyncio.create_task(real.verify(None, PASSWORD)) for _ in range(2)]
    await asyncio.sleep(0)
    cancelled[0].cancel()
    with pytest.raises(PasswordHasherBusy):
        await real.verify(None, PASSWORD)
    assert await cancelled[1] is False
    assert await asyncio.gather(*(real.verify(None, PASSWORD) for _ in range(2))) == [False, False]
