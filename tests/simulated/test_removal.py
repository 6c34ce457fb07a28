"""Whose file is gone goes, once, and comes back only with its file."""

import os
import signal

import pytest

from tests.simulated.site import Site, condition, reason


@pytest.fixture
def site(tmp_path):
    found = Site(tmp_path)
    found.config.write_text(found.config.read_text().replace("settle: 200ms", "settle: 2s"))
    found.start()
    yield found
    found.close()


def removed_later(site):
    """One that was stopped since its file is gone, and is forgotten only in an hour."""
    site.drop(inner="<r:prune after='1h'/>")
    site.drop("b")
    site.settled("running")
    site.settled("running", "b")
    site.file().unlink()
    site.domain(lambda d: condition(d, "Terminating") and d["observed"]["state"] == "absent")


def test_rule_6_our_restart_does_not_start_what_was_removed(site):
    removed_later(site)
    site.kill()
    site.start()
    site.domain(lambda d: condition(d, "Terminating") and d["observed"]["state"] == "absent")
    assert [e["domain"] for e in site.events("domain.starting")].count("a") == 1
    site.drop()  # and its file brings it back at once
    site.settled("running")


def test_rule_3_what_has_no_file_is_kept_running_where_that_proves_nothing(site):
    """A file that cannot be read may be anybody's: what ends meanwhile is started again."""
    site.drop()
    site.drop("b")
    site.settled("running", "b")
    pid = site.settled("running")["observed"]["pid"]
    site.put("x.xml", b"<domain>")
    site.file().unlink()
    os.kill(pid, signal.SIGKILL)
    site.domain(lambda d: d["observed"]["state"] == "running" and d["observed"]["pid"] != pid
                and reason(d) == "InSync")


def test_rule_6_another_file_that_is_written_brings_nothing_back(site):
    removed_later(site)
    with site.file("c").open("wb") as writing:
        writing.write(b"<domain>")
        writing.flush()
        site.until(lambda value: "c.xml" in value["source"]["settling"])
    site.until(lambda value: value["source"]["invalid"])
    site.domain(lambda d: condition(d, "Terminating") and d["observed"]["state"] == "absent")
    assert [e["domain"] for e in site.events("domain.starting")].count("a") == 1
