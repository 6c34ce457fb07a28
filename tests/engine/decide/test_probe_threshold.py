"""Counting probes."""

from reconciler.domain.policy import Health, Probe
from reconciler.engine.decide.inputs import HealthStatus, ProbeResult
from reconciler.engine.decide.probe_threshold import count_probe

HEALTH = Health(Probe.TCP, "a:1", failures=3, start_period=60.0)


def after(*beats, health=HEALTH):
    """The pulse after (problem, age) each."""
    pulse = ProbeResult()
    for problem, age in beats:
        pulse = count_probe(pulse, problem, health, age)
    return pulse


def test_one_success_is_healthy():
    assert after(("", 1)).status is HealthStatus.HEALTHY
    assert after(("no", 1), ("no", 2), ("", 3)).status is HealthStatus.HEALTHY


def test_failures_within_the_start_period_do_not_count():
    found = after(*[("no", age) for age in range(60)])
    assert (found.status, found.failures, found.message) == (HealthStatus.UNKNOWN, 0, "no")


def test_after_it_so_many_in_a_row_are_unhealthy():
    assert after(("no", 59), ("no", 60), ("no", 61)).status is HealthStatus.UNKNOWN
    assert after(("no", 59), ("no", 60), ("no", 61), ("no", 62)).status is HealthStatus.UNHEALTHY


def test_a_guest_that_was_well_is_given_its_failures_also_within_the_start_period():
    assert after(("", 1), ("no", 2), ("no", 3)).status is HealthStatus.HEALTHY
    assert after(("", 1), ("no", 2), ("no", 3), ("no", 4)).status is HealthStatus.UNHEALTHY
    assert after(("", 1), ("no", 2), ("no", 3), ("", 4), ("no", 5)).status is HealthStatus.HEALTHY


def test_pain_10_every_wait_for_health_ends():
    """Never Progressing for ever: the start period and the failures are a deadline."""
    health = Health(Probe.AGENT, interval=10.0, failures=3, start_period=60.0)
    ages = [0.1, *range(10, 200, 10)]
    statuss = [after(*[("no", age) for age in ages[:n]], health=health).status
                for n in range(1, len(ages) + 1)]
    assert statuss.index(HealthStatus.UNHEALTHY) == ages.index(80)
    assert set(statuss[ages.index(80):]) == {HealthStatus.UNHEALTHY}
