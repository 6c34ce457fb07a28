"""What two domains cannot share."""

from reconciler.domain.checks import claimed
from reconciler.domain.model import Disk, Domain, Interface, Machine


def test_claims_of_two_domains() -> None:
    def domain(uuid: str, disk: str, tap: str, readonly: bool = False) -> set[str]:
        machine = Machine(uuid, uuid, "q35", 1 << 30, 1,
                          disks=(Disk("vda", disk, readonly=readonly),),
                          interfaces=(Interface(tap, f"mac-{tap}"),))
        return set(claimed(Domain(machine)))

    assert not domain("a", "/1", "t1") & domain("b", "/2", "t2")
    assert domain("a", "/1", "t1") & domain("b", "/1", "t2") == {"writable disk /1"}
    assert not domain("a", "/1", "t1", True) & domain("b", "/1", "t2", True)
    assert domain("a", "/1", "t") & domain("a", "/2", "t") == {"uuid a", "mac mac-t", "tap t"}
