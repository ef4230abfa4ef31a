"""Has this request been answered already?"""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from churn.domain.answer import Answer, key_digest
from churn.ports import AnswerStore, Clock


class AnswerOnce:
    """Lets a request that is sent again, under one key, change things once and be answered the same."""

    def __init__(self, *, answers: AnswerStore, clock: Clock, lifetime: float) -> None:
        """`lifetime` is in seconds: how long a key is remembered."""
        self._answers = answers
        self._clock = clock
        self._lifetime = timedelta(seconds=lifetime)

    async def __call__(
        self, key: str, fingerprint: bytes, *, account: str, answer: Callable[[], Awaitable[Answer]]
    ) -> tuple[Answer, bool]:
        """The answer, and whether it was kept from before; otherwise `answer` gives it.

        What `answer` changes is stored together with the answer, or neither is. An error that it raises passes
        through, and the key is as good as new.

        Raises:
            KeyReused: `account` has used `key` for a request with another `fingerprint`.
            AnswerErased: the request was answered, but nobody may see the answer any more.
            Unavailable: it may or may not have been answered; asking again under this key is safe.
        """
        now = self._clock.now()
        await self._answers.purge(before=now - self._lifetime)
        async with self._answers.attempt(key_digest(key, account), fingerprint, at=now) as attempt:
            kept = attempt.answer
            if kept is not None:
                return kept, True
            attempt.answer = await answer()
            return attempt.answer, False
