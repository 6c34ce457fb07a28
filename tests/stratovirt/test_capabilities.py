"""Build features, found by trial starts of the simulator, or of a real StratoVirt."""

from __future__ import annotations

import json
import os
import sys

import pytest

from reconciler.errors import HostError
from reconciler.stratovirt.binary import SIMULATOR
from reconciler.stratovirt.capabilities import Capabilities

REAL = os.environ.get("STRATOVIRT_REAL")
PROGRAM = [REAL, *os.environ.get("STRATOVIRT_REAL_ARGS", "").split()] if REAL else [
    sys.executable, "-I", "-S", str(SIMULATOR)]
ALL = ["virtio-rng-pci", "vhost-vsock-pci", "vfio-pci", "virtio-gpu-pci", "virtio-scsi-pci", "vnc",
       "vhost-net"]


@pytest.mark.skipif(bool(REAL), reason="what a real one was built with is its builder's choice")
@pytest.mark.parametrize("feature", ALL)
def test_a_build_without_a_feature_says_so_before_any_start(tmp_path, feature):
    with pytest.raises(HostError, match=f"without {feature}") as caught:
        Capabilities(tmp_path / "kept").check(PROGRAM, "q35", [feature])
    assert caught.value.reason == "Unsupported"


@pytest.mark.skipif(bool(REAL), reason="what a real one was built with is its builder's choice")
def test_a_build_with_all_of_them(tmp_path, monkeypatch):
    monkeypatch.setenv("STRATOVIRT_SIMULATOR", json.dumps({"*": {"features": ["all"]}}))
    Capabilities(tmp_path / "kept").check(PROGRAM, "q35", ALL)


def test_an_answer_is_kept_for_as_long_as_the_program_is_the_same(tmp_path):
    program = tmp_path / "stratovirt"
    count = f"echo . >> '{tmp_path}/trials'"
    program.write_text(f"#!/bin/sh\n{count}; echo 'Unsupported device: \"vfio-pci\"' >&2; exit 1\n")
    program.chmod(0o755)

    def trials():
        return (tmp_path / "trials").read_text().count(".")

    first = Capabilities(tmp_path / "kept")
    for _ in range(2):
        with pytest.raises(HostError):
            first.check([str(program)], "q35", ["vfio-pci"])
    assert trials() == 1
    again = Capabilities(tmp_path / "kept")
    with pytest.raises(HostError):
        again.check([str(program)], "q35", ["vfio-pci"])
    assert trials() == 1
    program.write_text(f"#!/bin/sh\n{count}; exit 1  # another build\n")
    again.check([str(program)], "q35", ["vfio-pci"])
    assert trials() == 2


def test_without_optional_features_there_is_no_trial_start(tmp_path):
    program = tmp_path / "stratovirt"
    program.write_text(f"#!/bin/sh\ntouch '{tmp_path}/started'\n")
    program.chmod(0o755)
    Capabilities(tmp_path / "kept").check([str(program)], "q35", [])
    assert not (tmp_path / "started").exists()


def test_an_unreadable_cache_is_ignored(tmp_path):
    (tmp_path / "kept").write_text("garbage")
    with pytest.raises(HostError, match="without vfio-pci"):
        Capabilities(tmp_path / "kept").check(PROGRAM, "q35", ["vfio-pci"])


def test_all_that_is_missing_is_named_at_once(tmp_path):
    program = tmp_path / "stratovirt"
    program.write_text("#!/bin/sh\necho 'Unsupported device' >&2\n")
    program.chmod(0o755)
    with pytest.raises(HostError, match="vfio-pci, vnc") as caught:
        Capabilities(tmp_path / "kept").check([str(program)], "q35", ["vnc", "vfio-pci"])
    assert "vfio vnc" in caught.value.hint
