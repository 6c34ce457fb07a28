"""<rng>: a character device, and limits that StratoVirt takes."""

import pytest

from reconciler.domain.devices import Rng
from reconciler.domain.place import Place
from tests.domain.making import DISK, error, read


def rng(inner="<backend model='random'>/dev/urandom</backend>"):
    return f"<rng model='virtio'>{inner}</rng>"


def only(text):
    return next(d for d in read(devices=DISK + text).devices if isinstance(d, Rng))


def test_its_two_halves_on_the_command_line():
    device = only(rng("<rate bytes='1234' period='2000'/>"
                      "<backend model='random'>/dev/urandom</backend>"))
    assert device.arguments(Place(5, 0)) == (
        "-object", "rng-random,id=objrng0,filename=/dev/urandom", "-device",
        "virtio-rng-pci,rng=objrng0,max-bytes=1234,period=2000,id=rng0,bus=pcie.5,addr=0x0")


def test_no_limit_is_none_of_both():
    assert "max-bytes" not in " ".join(only(rng()).arguments(Place(5, 0)))
    assert only(rng("<backend model='random'/>")).path == "/dev/random"


@pytest.mark.parametrize("inner", [
    "", "<backend/>", "<backend model='egd'>/dev/urandom</backend>",
    "<backend model='builtin'/>",
    "<rate period='1000'/><backend model='random'/>",
    "<rate bytes='63' period='1000'/><backend model='random'/>",
    "<rate bytes='1000000001' period='1000'/><backend model='random'/>"])
def test_what_stratovirt_would_refuse(inner):
    assert error(devices=DISK + rng(inner))


@pytest.mark.parametrize("amount", [64, 10**9])
def test_the_ends_of_the_range(amount):
    assert only(rng(f"<rate bytes='{amount}' period='1000'/><backend model='random'/>"))


def test_it_needs_a_character_device():
    assert [need.kind for need in only(rng()).required_files()] == ["character"]
