"""An answer that is kept, so that the same request, sent again, gets it again."""

from hashlib import sha256

from msgspec import Struct


class Answer(Struct, frozen=True):
    """What a request was answered; only success is kept."""

    media_type: str
    body: bytes


def key_digest(key: str, account: str) -> bytes:
    """What is stored in place of `key`: no account's key is another's. 32 bytes."""
    return sha256(f"{account}\0{key}".encode()).digest()
