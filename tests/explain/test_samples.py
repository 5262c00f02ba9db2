"""Which images are drawn, and how networks of different sizes see the same ones."""

from dataclasses import replace

import torch

import convwright as cw
from convwright.arch import at
from convwright.data import Split, open_dataset
from convwright.explain.samples import as_read, chosen, held_out
from convwright.prediction.network import Predictor


def test_classes_come_in_turn_and_the_seed_decides():
    labels = torch.tensor([0] * 50 + [1] * 5 + [2] * 20)
    split = Split(torch.arange(75, dtype=torch.uint8).view(75, 1, 1, 1), labels)
    drawn = chosen(split, 9)
    assert drawn.labels.tolist() == [0, 1, 2] * 3
    assert torch.equal(drawn.labels, labels[drawn.images.flatten().long()])
    assert torch.equal(chosen(split, 4).images, drawn.images[:4]), "more images are the same ones and others"
    assert not torch.equal(chosen(split, 9, seed=1).images, drawn.images)
    everything = chosen(split, 1000)
    assert sorted(everything.images.flatten().tolist()) == list(range(75))


def test_test_images_where_there_are_any():
    data = open_dataset("digits")
    assert held_out(data) == ("test", data.test)
    assert held_out(replace(data, test=None)) == ("val", data.val)


def test_a_network_sees_a_source_as_it_was_trained():
    native, larger = open_dataset("digits"), open_dataset("digits", resolution=12)
    network = at(cw.network("cifar_resnet8"), resolution=12, channels=1, classes=10)
    predictor = Predictor(network, cw.build(network, seed=0), "0123456789", (0.5,), (0.5,))
    first = native.test.choose(torch.arange(5))
    assert torch.equal(torch.stack(as_read(predictor, first)), larger.test.images[:5])
    coloured = Predictor(at(network, channels=3), predictor.module, "0123456789", (0.5,) * 3, (0.5,) * 3)
    assert as_read(coloured, first)[0].shape == (3, 12, 12)
