"""appliedRevision: what is in force, never what was only accepted."""

from __future__ import annotations

from dataclasses import replace

from reconciler.engine.status.builder import domain_status
from tests.engine.making import Place, running, settled, until


async def test_pain_12_a_definition_that_is_not_decided_on_yet_is_not_applied(tmp_path):
    place = Place(tmp_path)
    place.drop("a")
    async with running(place) as reconciler:
        await until(reconciler, settled(reconciler, 1))
        controller, = reconciler.keepers.values()
        before = domain_status(controller)["appliedRevision"]
        memory = controller.memory
        controller.memory = replace(memory, generation=memory.generation + 1,
                                    definition=replace(memory.definition, revision="newer"))
        status = domain_status(controller)
        assert (status["revision"], status["appliedRevision"]) == ("newer", before)
        controller.memory = memory
