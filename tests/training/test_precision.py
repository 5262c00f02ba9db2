"""Training in float16, whose loss is scaled: what is skipped, what is kept in checkpoints, and what is refused."""

import pytest
import torch
from torch import nn

import convwright as cw
from convwright.data import open_dataset
from convwright.errors import UsageError
from convwright.training.interrupt import Interrupted
from convwright.training.loop import resume, train
from convwright.training.plan import plan
from convwright.training.precision import DivergedError, Precision
from convwright.training.run import Run

from .test_loop import NOISY, StopAfter, assert_same, last_state

GROWTH = 3
"""Steps after which the scale is doubled in tests."""


@pytest.fixture(scope="module")
def digits():
    return open_dataset("digits")


@pytest.fixture
def restless(monkeypatch):
    """Scales that grow after a few steps, so that gradients overflow several times in a short run."""
    made = torch.amp.GradScaler
    monkeypatch.setattr(
        torch.amp, "GradScaler", lambda device: made(device, init_scale=2.0**20, growth_interval=GROWTH)
    )


@pytest.mark.parametrize(("name", "memory_efficient"), [(NOISY, False), ("densenet_bc_l16_k8", True)])
def test_stopped_after_its_scale_changed_and_resumed_ends_in_the_same_state(
    name, memory_efficient, digits, tmp_path, restless
):
    options = {"precision": "16-mixed", "memory_efficient": memory_efficient, "epochs": 0.4}
    config, network = plan(digits, cw.network(name), recipe={"ema": 0.9, "clip_norm": 1.0}, **options)
    summary = train(config, network, digits, tmp_path / "whole")
    expected = last_state(tmp_path / "whole")
    assert expected["precision"]["skipped"] == summary.skipped_steps > 1
    rows = Run.open(tmp_path / "whole").metrics
    assert rows[-1]["skipped_steps"] == summary.skipped_steps
    assert rows[-1]["loss_scale"] == expected["precision"]["scaler"]["scale"] < 2**20
    path = tmp_path / "stopped"
    with pytest.raises(Interrupted):
        train(config, network, digits, path, [StopAfter(2 * GROWTH)])
    resume(Run.open(path), digits)
    assert_same(last_state(path), expected)


def test_it_learns_about_what_32_bits_learn(digits, tmp_path):
    accuracies = []
    for precision in ("32-true", "16-mixed"):
        config, network = plan(digits, cw.network("cifar_resnet8"), epochs=2, precision=precision)
        accuracies.append(train(config, network, digits, tmp_path / precision).val_accuracy)
    assert accuracies[1] == pytest.approx(accuracies[0], abs=0.05)
    assert accuracies[1] > 0.8


def test_a_skipped_step_leaves_the_weights_and_halves_the_scale():
    precision, layer = Precision("16-mixed", torch.device("cpu")), nn.Linear(2, 1)
    optimizer = torch.optim.SGD(layer.parameters(), 0.1, momentum=0.9)
    before = layer.weight.detach().clone()
    for gradient, taken in ((float("inf"), False), (float("nan"), False), (1.0, True)):
        scale = precision.measures()["loss_scale"]
        precision.scaled(torch.ones(()))  # a backward pass begins with it
        for weight in layer.parameters():
            weight.grad = torch.full_like(weight, gradient) * scale
        assert precision.update(optimizer, None) is taken
        assert torch.equal(layer.weight, before) is not taken
        assert precision.measures()["loss_scale"] == (scale if taken else scale / 2)
    assert precision.skipped == 2
    assert torch.allclose(layer.weight, before - 0.1)  # by the gradient without the scale


def test_a_gradient_that_no_scale_makes_finite_ends_training():
    precision, layer = Precision("16-mixed", torch.device("cpu")), nn.Linear(2, 1)
    optimizer = torch.optim.SGD(layer.parameters(), 0.1)
    precision.scaled(torch.ones(()))
    for weight in layer.parameters():
        weight.grad = torch.full_like(weight, float("nan"))
    assert [precision.update(optimizer, None) for _ in range(16)] == [False] * 16  # from a scale of 2 to the 16
    with pytest.raises(DivergedError, match="the gradient became nan"):
        precision.update(optimizer, None)
    assert precision.skipped == 16


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_other_formats_have_no_scale(precision):
    made = Precision(precision, torch.device("cpu"))
    assert (made.state(), made.measures()) == (None, {})
    layer = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(layer.parameters(), 0.1)
    for weight in layer.parameters():
        weight.grad = torch.full_like(weight, float("inf"))
    with pytest.raises(DivergedError, match="the gradient became inf"):
        made.update(optimizer, None)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"precision": "16-mixed", "fused": True}, "precision: cannot be 16-mixed with `fused`, .*omit one"),
        ({"cuda_graphs": True}, "cuda_graphs: needs `compile`"),
        ({"compile": True, "fused": True}, "compile: cannot be combined with `fused`"),
        ({"compile": True, "memory_efficient": True}, "compile: cannot be combined with `memory_efficient`"),
        (
            {"compile": True, "progressive": 0.5},
            "compile: compiles again for each size of growing images; add `progressive=0`",
        ),
        (
            {"compile": True, "freeze": True, "weights": "pretrained"},
            "compile: compiles the network, of which `freeze`",
        ),
        ({"compile": True, "cuda_graphs": True, "devices": 2}, "cuda_graphs: are for one device"),
        ({"compile": True, "cuda_graphs": True, "accumulate": 2}, "cuda_graphs: cannot be combined with `accumulate`"),
        ({"precision": "16"}, "precision: must be '32-true' or 'bf16-mixed' or '16-mixed' or 'auto', not '16'"),
    ],
)
def test_what_cannot_be_combined_is_refused(options, reason):
    with pytest.raises(UsageError, match=reason):
        cw.TrainRequest(data="digits", **options)


def test_a_recipe_that_cannot_be_combined_is_refused_before_training(digits, tmp_path):
    with pytest.raises(
        UsageError, match="compile: compiles again for each size of growing images; add `progressive=0`"
    ):
        cw.train("digits", recipe="fast", network="cifar_resnet8", compile=True, out=tmp_path / "run", epochs=0.1)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_graphs_of_a_gpu_are_refused_without_one(digits):
    with pytest.raises(UsageError, match="cuda_graphs: needs an NVIDIA GPU"):
        cw.prepare("digits", network="cifar_resnet8", compile=True, cuda_graphs=True, epochs=0.1)
