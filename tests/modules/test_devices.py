"""Devices that this machine lacks: one clear line, without torch's own text."""

import pytest
import torch

import convwright as cw
from convwright.errors import ArgumentError
from convwright.modules.devices import find_device


@pytest.mark.parametrize("name", ["foo", "cuda:99", "cuda:x", "cpu:cpu", "", 99, 1.5])
def test_a_device_that_is_not_there_is_named(name):
    for take in (find_device, lambda device: cw.build("cifar_resnet8", device=device)):
        if name == "" and take is not find_device:
            continue  # the default
        with pytest.raises(ArgumentError, match=r"^device: no device .* on this machine.*; the device is"):
            take(name)


@pytest.mark.parametrize("name", ["cpu", "auto", torch.device("cpu"), "meta"])
def test_a_device_is_found(name):
    assert isinstance(find_device(name), torch.device)
    device = next(cw.build("cifar_resnet8", device=name).parameters()).device
    assert device.type == find_device(name).type


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_machine_without_a_gpu():
    with pytest.raises(ArgumentError, match=r"no device 'cuda' on this machine \(torch finds no GPU\)"):
        find_device("cuda")
