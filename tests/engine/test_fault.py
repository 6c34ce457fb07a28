"""A fault of ours in a pass: told, and nothing is claimed of the domain meanwhile."""

from __future__ import annotations

from tests.engine.making import Place, running, settled, until


async def test_rule_9_after_a_fault_of_ours_nothing_is_known(tmp_path):
    place = Place(tmp_path)
    place.drop("a")
    async with running(place) as reconciler:
        await until(reconciler, settled(reconciler, 1))
        keeper, = reconciler.keepers.values()
        assert keeper.plan.ready.status == "True"
        reconciler._fault(keeper.uuid, AttributeError("no such thing"))
        ready = reconciler.publisher.value()["domains"][0]["conditions"][0]
        assert (ready["status"], ready["reason"]) == ("Unknown", "InternalError")
        assert "no such thing" in ready["message"]
