"""Firmware variables (nvram) of domains that are renamed."""

import pytest

from tests.simulated.site import Site


@pytest.fixture
def site(tmp_path):
    found = Site(tmp_path)
    found.start()
    yield found
    found.close()


def with_variables(site, file, name, uuid):
    """A file whose domain has its firmware variables in the reconciler's own directory."""
    site.drop(name, file=".fresh", head=f"<uuid>{uuid}</uuid>")
    data = (site.path / "domains" / ".fresh").read_bytes()
    site.put(file, data.replace(b"</os>", b"<nvram template='vars.fd'/></os>").replace(
        f"'{name}.img'".encode(), f"'{uuid[-1]}.img'".encode()))


def test_firmware_variables_stay_with_the_uuid_of_a_vm_that_is_renamed(site):
    (site.path / "images" / "vars.fd").write_bytes(bytes(128 << 10))
    kept = site.settings.state / "nvram"
    uuids = [f"5ee5b4d5-0000-4000-8000-00000000000{n}" for n in (1, 2)]
    for uuid in uuids:
        site.disk(uuid[-1])
    for name, uuid in zip("ab", uuids, strict=True):
        with_variables(site, f"{uuid[-1]}.xml", name, uuid)
        site.settled("running", name)
        with (kept / f"{name}_VARS.fd").open("r+b") as variables:
            variables.write(uuid.encode())  # as the guest's firmware does
    with site.frozen():  # in one look
        for name, uuid in zip("ba", uuids, strict=True):
            with_variables(site, f"{uuid[-1]}.xml", name, uuid)
    for name, uuid in zip("ba", uuids, strict=True):
        site.domain(lambda d, u=uuid: d["uuid"] == u and d["observed"]["state"] == "running"
                    and d["observedGeneration"] == 2, name)
        assert (kept / f"{name}_VARS.fd").read_bytes().startswith(uuid.encode())
