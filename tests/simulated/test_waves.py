"""Start waves: what is of a higher wave waits until the lower ones are at rest."""


def test_pain_14_a_higher_wave_starts_after_a_lower_one(site):
    site.kill()
    for name, wave in (("a", 2), ("b", 1), ("c", 0)):
        site.drop(name, inner=f"<r:start wave='{wave}'/>")
    site.start()
    for name in "abc":
        site.settled("running", name)
    order = [e["domain"] for e in site.events("domain.starting", "domain.started")]
    assert order == ["c", "c", "b", "b", "a", "a"]


def test_a_lower_wave_that_fails_does_not_block_higher_waves(site):
    site.kill()
    site.drop("a", inner="<r:start wave='1'/>")
    site.drop("b")
    site.disk("b").unlink()
    site.start()
    site.settled("running", "a")
    assert site.events("domain.started")[0]["domain"] == "a"
