"""Training steps mix no devices: on torch's device without values, where that is an error as it is on a GPU."""

import pytest
import torch

import convwright as cw
from convwright.data import open_dataset
from convwright.training import one_process
from convwright.training.plan import plan
from convwright.training.preparation import make_learner, training_batches

VALUES = {"item": 1.0, "__int__": 1, "__bool__": True, "__float__": 1.0}
"""What tensors without values are read as."""


@pytest.fixture
def elsewhere(monkeypatch):
    """Train on the device `meta`."""
    device = torch.device("meta")
    monkeypatch.setattr(one_process, "_fastest_device", lambda: device)
    for name, value in VALUES.items():
        read = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor, name, lambda self, read=read, value=value: value if self.is_meta else read(self)
        )
    return device


@pytest.mark.parametrize("network", ["cifar_seresnet8", "densenet_bc_l16_k8", "efficientnet_b0|scale:d=0.3,w=0.25"])
@pytest.mark.parametrize(
    ("options", "recipe"),
    [
        ({}, {"ema": 0.9, "clip_norm": 1.0, "mixup": 0.2, "optimizer": "adamw"}),
        (
            {"memory_efficient": True, "fused": False},
            {"cutmix": 1.0, "randaugment": 5, "class_weights": "balanced", "optimizer": "muon"},
        ),
        ({"fused": True}, {"progressive": 0.5, "accumulate": 2, "optimizer": "rmsprop", "label_smoothing": 0.1}),
    ],
)
def test_a_step_takes_everything_to_the_device(network, options, recipe, elsewhere):
    data = open_dataset("digits")
    config, planned = plan(data, cw.network(network), recipe=recipe, **options)
    learner = make_learner(config, planned, data)
    learner.train()
    batches = training_batches(config, data, learner.devices)
    for step in (0, 30):
        learner.train_step(*batches.at(step), step, 40)
    averaged = [learner.average.module] if learner.average else []
    assert all(
        each.device == elsewhere for module in (learner.network, *averaged) for each in module.state_dict().values()
    )
    assert all(weight.grad.device == elsewhere for weight in learner.network.parameters())
