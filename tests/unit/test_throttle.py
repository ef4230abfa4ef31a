"""Counting failures."""

from hypothesis import example, given
from hypothesis import strategies as st

from churn.domain.throttle import PERIOD, Throttle


@given(limit=st.integers(1, 1000), start=st.floats(0, 1e7))
@example(limit=997, start=9_999_999.9)
def test_a_key_may_fail_limit_times_at_once_and_no_more(limit, start):
    """The limit is exact, wherever the clock starts, and then tells how long the next attempt must wait."""
    throttle = Throttle(limit)
    for _ in range(limit):
        assert throttle.wait("key", start) == 0
        throttle.charge("key", start)
    wait = throttle.wait("key", start)
    assert 0 < wait <= PERIOD / limit + 0.001
    assert throttle.wait("key", start + wait) == 0


@given(limit=st.integers(1, 100), charges=st.integers(1, 300))
def test_what_is_charged_and_refunded_leaves_no_trace(limit, charges):
    """Successes cost nothing, however many there are."""
    throttle = Throttle(limit)
    for now in range(charges):
        throttle.charge("key", now)
        throttle.refund("key", now)
    for _ in range(limit):
        assert throttle.wait("key", charges) == 0
        throttle.charge("key", charges)


def test_keys_do_not_share_a_count():
    """One account's failures are no other's."""
    throttle = Throttle(1)
    throttle.charge("a", 0.0)
    assert throttle.wait("a", 0.0) > 0
    assert throttle.wait("b", 0.0) == 0


def test_many_keys_that_fail_once_do_not_wipe_out_one_that_fails_often():
    """Memory is bounded, and what is forgotten is what matters least."""
    throttle = Throttle(3, capacity=100)
    for _ in range(3):
        throttle.charge("victim", 0.0)
    for number in range(10_000):
        throttle.charge(f"attacker {number}", 0.0)
    assert throttle.wait("victim", 0.0) > 0
    remembered = sum(throttle.wait(f"attacker {number}", -PERIOD) > 0 for number in range(10_000))
    assert remembered < 100


def test_a_refund_of_what_was_forgotten_is_no_credit():
    """A key that was forgotten meanwhile starts from nothing, not from less than nothing."""
    throttle = Throttle(1)
    throttle.refund("key", 0.0)
    throttle.charge("key", 0.0)
    assert throttle.wait("key", 0.0) > 0
