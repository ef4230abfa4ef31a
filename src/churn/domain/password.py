"""What a password may be.

After NIST SP 800-63B, section 5.1.1.2: length and a blocklist, no rules of composition, every character allowed.
"""

import unicodedata
from collections.abc import Callable
from typing import Final

from churn.domain.errors import PasswordRule, WeakPassword

#: In code points, after normalization. NIST asks for 8 at least, and to accept 64 at least.
MIN_LENGTH: Final = 12
MAX_LENGTH: Final = 256


def normalize(password: str) -> str:
    """The password as it is hashed: NFKC, so that it fits however the keyboard composed its characters."""
    return password if password.isascii() else unicodedata.normalize("NFKC", password)


def check_password(password: str, *, username: str, is_common: Callable[[str], bool]) -> str:
    """The password, normalized, if the account `username` may have it.

    `is_common` tells whether a password is among those that attackers try first.

    Raises:
        WeakPassword: it is too short or too long, cannot be typed, is common, or contains the username.
    """
    # Before normalization, which may make eighteen code points of one.
    if len(password) > MAX_LENGTH:
        raise WeakPassword(PasswordRule.LENGTH, f"a password has at most {MAX_LENGTH} characters")
    normal = normalize(password)
    folded = normal.casefold()
    if not MIN_LENGTH <= len(normal) <= MAX_LENGTH:
        raise WeakPassword(PasswordRule.LENGTH, f"a password has {MIN_LENGTH} to {MAX_LENGTH} characters")
    # RFC 7617, section 2: Basic authentication cannot carry control characters.
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in normal):
        raise WeakPassword(PasswordRule.CONTROL, "a password has no control characters")
    if username.casefold() in folded:
        raise WeakPassword(PasswordRule.USERNAME, "a password must not contain the username")
    if is_common(normal) or is_common(folded):
        raise WeakPassword(PasswordRule.COMMON, "this password is among the most common ones")
    return normal
