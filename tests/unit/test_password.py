"""The password policy."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn.domain.errors import WeakPassword
from churn.domain.password import MAX_LENGTH, MIN_LENGTH, check_password, normalize


def check(password, username="anne", common=()):
    return check_password(password, username=username, is_common=set(common).__contains__)


@pytest.mark.parametrize("password", ["x" * MIN_LENGTH, "é" * MAX_LENGTH, "cheval agrafe pile correcte", "🐎" * 12])
def test_a_password_of_12_to_256_characters_is_accepted(password):
    """Length counts in characters, and every printing character is allowed."""
    assert check(password) == password


@pytest.mark.parametrize("password", ["", "x" * (MIN_LENGTH - 1), "x" * (MAX_LENGTH + 1), "é" * 100_000])
def test_a_password_of_another_length_is_refused(password):
    """Neither short nor long passwords pass."""
    with pytest.raises(WeakPassword, match="256 characters"):
        check(password)


def test_length_counts_after_normalization():
    """Six letters that each need two code points are six characters; one that unfolds to eighteen is refused."""
    with pytest.raises(WeakPassword):
        check("e\u0301" * 6)
    with pytest.raises(WeakPassword):
        check("\ufdfa" * 200)


@pytest.mark.parametrize("password", ["long enough\n!", "long\x00enough!", "a lone \ud800 surrogate"])
def test_what_basic_authentication_cannot_carry_is_refused(password):
    """Control characters and lone surrogates could be stored, and then never be sent."""
    with pytest.raises(WeakPassword, match="control"):
        check(password)


@pytest.mark.parametrize("password", ["i-am-anne-really", "I-AM-ANNE-REALLY", "ｉ－ａｍ－ａｎｎｅ－ｒｅａｌｌｙ"])
def test_a_password_that_contains_the_username_is_refused(password):
    """Whatever the case or the width of the letters."""
    with pytest.raises(WeakPassword, match="username"):
        check(password)


@pytest.mark.parametrize("password", ["azertyuiop123", "AZERTYUIOP123", "ａｚｅｒｔｙｕｉｏｐ１２３"])
def test_a_common_password_is_refused(password):
    """Whatever the case or the width of the letters."""
    with pytest.raises(WeakPassword, match="common"):
        check(password, common=["azertyuiop123"])


@given(st.text())
def test_no_message_repeats_the_password(password):
    """A refusal may be shown and logged."""
    with pytest.raises(WeakPassword) as refusal:
        check_password(f"secret-{password}", username="anne", is_common=lambda _: True)
    assert "secret" not in str(refusal.value)


@given(st.text())
def test_however_it_is_composed_a_password_is_one_password(password):
    """What one keyboard composes and another decomposes is hashed as the same text."""
    assert normalize(unicodedata.normalize("NFD", password)) == normalize(unicodedata.normalize("NFC", password))
