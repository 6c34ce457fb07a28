"""A device and its place on a bus."""

from .drive import Drive
from .fields import Fields

Place = tuple[int, int]


class Device:
    """One device on a bus."""

    def __init__(self, identity: str, driver: str, bus: str, place: Place, multi: bool) -> None:
        self.id = identity
        self.driver = driver
        self.bus = bus
        self.place = place
        self.multi = multi
        self.drive: Drive | None = None
        self.netdev: Fields | None = None
        self.leaving = False
