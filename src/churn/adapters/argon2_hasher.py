"""Password hashes by argon2id."""

import asyncio
import os
import secrets
import sys
import threading
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import Final

import argon2
from argon2.exceptions import HashingError, VerificationError, VerifyMismatchError
from argon2.profiles import RFC_9106_LOW_MEMORY

from churn.domain.errors import PasswordHasherBusy

_NICENESS: Final = 19


class Argon2PasswordHasher:
    """Fills the port `PasswordHasher` with argon2id, in threads of its own: it never blocks the event loop.

    The default parameters are the second recommended option of RFC 9106, section 4, for when memory is
    scarce: 64 MiB, 3 passes, 4 lanes, a salt of 128 bits and a tag of 256.
    """

    def __init__(
        self, *, concurrency: int, queue_size: int, parameters: argon2.Parameters = RFC_9106_LOW_MEMORY
    ) -> None:
        """At most `concurrency` calls run and `queue_size` more wait."""
        self._argon2 = argon2.PasswordHasher.from_parameters(parameters)
        self._decoy = _decoy(parameters)
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="argon2", initializer=_yield_to_others)
        self._slots = BoundedSemaphore(concurrency + queue_size)

    async def hash(self, password: str) -> str:
        """See the port."""
        return await self._run(self._argon2.hash, _encode(password))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """See the port. A stored hash that cannot be read is one that no password fits, at the same cost."""
        return await self._run(self._verify, password_hash or self._decoy, _encode(password))

    def needs_rehash(self, password_hash: str) -> bool:
        """See the port."""
        try:
            return self._argon2.check_needs_rehash(password_hash)
        except ValueError:
            return True

    def close(self) -> None:
        """Give up the calls that wait; those that run end in their own time."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _verify(self, password_hash: str, password: bytes) -> bool:
        try:
            return self._argon2.verify(password_hash, password)
        except VerifyMismatchError:
            return False
        except (VerificationError, ValueError):
            # Unless this is the decoy, the stored hash is damaged: that must not show in the time taken.
            if password_hash is self._decoy:
                raise
            return self._verify(self._decoy, password)

    async def _run[**P, T](self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if not self._slots.acquire(blocking=False):
            raise PasswordHasherBusy("too many sign-ins are waiting")
        call = self._threads.submit(function, *args, **kwargs)
        # The slot is given back when the thread is done with the call, or at once when a call that still
        # waits is cancelled; a caller that goes away while its call runs does not make room for another.
        call.add_done_callback(lambda _: self._slots.release())
        try:
            return await asyncio.wrap_future(call)
        except (HashingError, VerificationError) as error:
            raise PasswordHasherBusy("there is not enough memory to verify a password") from error


def _yield_to_others() -> None:
    # Linux has a niceness and a set of cores for each thread, which those that argon2 makes for its lanes inherit. A
    # crowd that guesses then leaves half of the cores to those who are signed in, and yields on the others: lanes on
    # every core would keep whoever is next waiting for a tick of the scheduler or two, however low their priority.
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[len(cores) // 2 :])


def _encode(password: str) -> bytes:
    # A lone surrogate, which UTF-8 proper cannot carry, makes a wrong password, not a failure.
    return password.encode("utf-8", "surrogatepass")


def _decoy(parameters: argon2.Parameters) -> str:
    """A hash that costs what any does, in the PHC string format, of a password that nobody knows."""
    salt, tag = (
        b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (parameters.salt_len, parameters.hash_len)
    )
    costs = f"m={parameters.memory_cost},t={parameters.time_cost},p={parameters.parallelism}"
    return f"$argon2id$v={parameters.version}${costs}${salt}${tag}"
