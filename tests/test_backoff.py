"""The delays between attempts."""

from __future__ import annotations

import pytest

from reconciler.backoff import Backoff


@pytest.mark.parametrize(("attempt", "delay"), [
    (1, 1.0), (2, 2.0), (3, 4.0), (8, 128.0), (9, 256.0),
    (10, 300.0), (11, 300.0), (1024, 300.0), (1025, 300.0), (10**9, 300.0),
    (0, 1.0), (-1, 1.0),
])
def test_doubles_up_to_the_longest(attempt, delay):
    assert Backoff(1.0, 300.0).delay(attempt) == delay


@pytest.mark.parametrize(("backoff", "delays"), [
    (Backoff(0.5, 60.0, 3.0), [0.5, 1.5, 4.5, 13.5, 40.5, 60.0]),
    (Backoff(2.0, 10.0, 1.0), [2.0, 2.0, 2.0]),
    (Backoff(5.0, 1.0), [1.0, 1.0]),  # a longest below the first is a cap as well
    (Backoff(0.0, 300.0), [0.0, 0.0, 0.0]),
])
def test_first_longest_and_factor(backoff, delays):
    assert [backoff.delay(attempt) for attempt in range(1, len(delays) + 1)] == delays


def test_a_first_delay_of_zero_stays_zero_after_any_number_of_failures():
    assert Backoff(0.0, 300.0).delay(10_000) == 0.0


@pytest.mark.parametrize(("attempt", "jitter", "delay"), [
    (1, 0.5, 0.5), (3, 1.5, 6.0), (50, 0.9, 270.0), (50, 1.1, 330.0)])
def test_jitter_spreads_also_the_longest_delay(attempt, jitter, delay):
    assert Backoff(1.0, 300.0).delay(attempt, jitter) == pytest.approx(delay)
