"""Many at once."""

import time

MANY = 30


def names():
    return [f"vm{number}" for number in range(MANY)]


def count(site):
    return [len(site.processes(name)) for name in names()]


def test_thirty_at_once_and_away_again(site):
    begun = time.monotonic()
    for name in names():
        site.drop(name)
    site.until(lambda v: v["summary"]["ready"] == MANY and v["summary"]["running"] == MANY)
    assert time.monotonic() - begun < 30
    assert count(site) == [1] * MANY
    assert len(site.events("domain.started")) == MANY
    # All are edited at once.
    for name in names():
        site.drop(name, state="paused")
    site.until(lambda v: v["summary"]["paused"] == v["summary"]["ready"] == MANY)
    # We are killed with all of them there, and lose none.
    site.kill()
    site.start()
    site.until(lambda v: v["summary"]["paused"] == v["summary"]["ready"] == MANY)
    assert count(site) == [1] * MANY
    # All files vanish: held; approved: gone.
    for name in names():
        site.file(name).unlink()
    held = site.until(lambda v: v["approvals"] and len(v["approvals"][0]["domains"]) == MANY)
    assert count(site) == [1] * MANY
    assert site.verb("approve", held["approvals"][0]["token"]).returncode == 0
    site.until(lambda v: not v["domains"])
    assert count(site) == [0] * MANY
