"""A source whose looks a test asks for, and whose clocks a test moves."""

from __future__ import annotations

from reconciler.engine.decide.inputs import Removal
from tests.engine.making import ClockedDaemon, Place, states
from tests.values import xml

FILES_SETTLE_AT_ONCE = "source: {settle: 0s}\n"
DEFAULTS = b"<domain><title>t</title></domain>"


class SourcePlace(Place):
    """Domains are stopped unless a file says otherwise."""

    kind = ClockedDaemon

    def drop_several(self, count: int, **values) -> None:
        """One file, a.xml, that defines the domains a-0, a-1, and so on."""
        for index in range(count):
            (self.path / "images" / f"a-{index}.img").touch()
        self.file("a").write_bytes(xml("a-{index}", "stopped", **values).replace(
            b"state='stopped'", f"state='stopped' count='{count}'".encode()))


def names(daemon: ClockedDaemon) -> list[str]:
    """Domains that are not believed to be removed."""
    return sorted(name for name, state in states(daemon).items()
                  if state.removal in (Removal.NONE, Removal.UNPROVEN))


def missing(daemon: ClockedDaemon) -> list[str]:
    """Domains whose file is missing, and not for long enough yet."""
    return sorted(name for name, state in states(daemon).items()
                  if not daemon.source.start_allowed(state.uuid))
