"""Accounts, their roles, and what a username may be."""

import re
from datetime import datetime
from enum import StrEnum
from typing import Final

from msgspec import Struct

from churn.domain.errors import InvalidUsername

#: Three characters at least: `me` stands for whoever asks, and a password must not contain the username.
#: Lower case, so that `Anne` and `anne` cannot be two people; no colon, which Basic auth cannot carry.
#: Python's `$` alone would let a trailing newline pass.
USERNAME_PATTERN: Final = r"^[a-z0-9][a-z0-9._@-]{2,63}$(?!\n)"
MAX_USERNAME_LENGTH: Final = 64


class Role(StrEnum):
    """What an account may do; an admin may do all that an analyst may."""

    ANALYST = "analyst"
    ADMIN = "admin"


class Account(Struct, frozen=True, kw_only=True):
    """Someone who may use the service."""

    username: str
    role: Role
    password_hash: str
    created_at: datetime
    disabled: bool = False

    def has(self, role: Role) -> bool:
        """Whether the account may do what `role` may."""
        return self.role is Role.ADMIN or self.role is role

    @property
    def is_enabled_admin(self) -> bool:
        """Whether the account can manage accounts."""
        return self.role is Role.ADMIN and not self.disabled

    def __repr__(self) -> str:
        # Without the hash, which must not reach a log or a traceback.
        return f"Account({self.username!r}, {self.role.value}{', disabled' if self.disabled else ''})"


def is_username(text: str) -> bool:
    """Whether an account can have that name."""
    return re.search(USERNAME_PATTERN, text) is not None


def check_username(username: str) -> str:
    """The username itself, if an account can have it.

    Raises:
        InvalidUsername: it does not match `USERNAME_PATTERN`.
    """
    if not is_username(username):
        raise InvalidUsername(
            "a username has 3 to 64 characters among a-z, 0-9 and . _ @ -, and starts with a letter or a digit"
        )
    return username
