"""Muon: which weights it orthogonalises, what an orthogonalised gradient is, and that training with it can stop."""

import pytest
import torch

import convwright as cw
from convwright.data import open_dataset
from convwright.training.config import Recipe
from convwright.training.interrupt import Interrupted
from convwright.training.loop import resume, train
from convwright.training.muon import ITERATIONS, NEWTON_SCHULZ, Muon, orthogonalised
from convwright.training.optim import make_optimizer
from convwright.training.plan import plan
from convwright.training.run import Run

from .test_loop import StopAfter, assert_same, last_state


@pytest.mark.parametrize("shape", [(32, 16, 3, 3), (64, 16, 1, 1), (16, 64), (7, 7), (1, 5), (5, 1)])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_an_orthogonalised_gradient_keeps_its_singular_vectors_and_gets_singular_values_near_one(shape, scale):
    gradient = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * scale
    left, values, right = torch.linalg.svd(gradient.flatten(1), full_matrices=False)
    inside = left.T @ orthogonalised(gradient).flatten(1) @ right.T
    found = inside.diagonal()
    assert ((found > 0.6) & (found < 1.25))[values > 0.02 * values[0]].all()
    assert (inside - found.diag()).abs().max() < 1e-3


def iterated(gradient: torch.Tensor) -> torch.Tensor:
    """Newton-Schulz iteration as it is defined, in double precision."""
    matrix = gradient.double() / gradient.double().norm()
    for _ in range(ITERATIONS):
        gram = matrix @ matrix.T
        matrix = NEWTON_SCHULZ[0] * matrix + (NEWTON_SCHULZ[1] * gram + NEWTON_SCHULZ[2] * gram @ gram) @ matrix
    return matrix


@pytest.mark.parametrize("shape", [(96, 96), (64, 576), (32, 48)])
@pytest.mark.parametrize("spectrum", ["one", "steep", "flat"])
def test_single_precision_agrees_with_double_precision_for_any_spectrum(shape, spectrum):
    generator = torch.Generator().manual_seed(3)
    left, _, right = torch.linalg.svd(torch.randn(shape, generator=generator, dtype=torch.float64), full_matrices=False)
    exponents = torch.linspace(0, {"one": -300, "steep": -8, "flat": 0}[spectrum], shape[0], dtype=torch.float64)
    gradient = left * 10**exponents @ right
    error = orthogonalised(gradient.float()).double() - iterated(gradient)
    assert error.abs().max() < 2e-3 * iterated(gradient).abs().max()


def test_no_gradient_moves_nothing():
    assert not orthogonalised(torch.zeros(4, 3, 3, 3)).any()


@pytest.mark.parametrize("scale", [1e-10, 1e-18, 1e-25, 1e-38])
def test_the_update_of_a_vanishing_gradient_vanishes(scale):
    gradient = torch.randn(8, 12, generator=torch.Generator().manual_seed(0)) * scale
    assert orthogonalised(gradient).norm() < 1e4 * scale / 1e-7


def test_a_layer_without_gradients_comes_to_rest():
    weight = torch.nn.Parameter(torch.randn(8, 12, generator=torch.Generator().manual_seed(1)))
    optimizer = Muon([{"params": [weight], "matrices": True}], 0.05, 0.9)
    weight.grad = torch.randn(8, 12, generator=torch.Generator().manual_seed(2))
    for _ in range(1200):
        optimizer.step()
        weight.grad.zero_()
        before = weight.detach().clone()
    assert weight.isfinite().all()
    optimizer.step()
    assert torch.equal(weight, before)


@pytest.mark.parametrize("network", ["cifar_seresnet8", "densenet_bc_l16_k8", "efficientnet_b0|scale:d=0.3,w=0.25"])
def test_it_orthogonalises_all_filters_but_the_first_and_those_of_single_channels(network):
    module = cw.build(network)
    groups = make_optimizer(module, Recipe(optimizer="muon", weight_decay=0.01)).param_groups
    assert sum(len(group["params"]) for group in groups) == len(list(module.parameters()))
    chosen = {weight for group in groups if group["matrices"] for weight in group["params"]}
    convolutions = [part for part in module.modules() if isinstance(part, torch.nn.Conv2d)]
    assert chosen == {part.weight for part in convolutions[1:] if part.groups == 1}
    for group in groups:
        assert group["share"] == (1.0 if group["matrices"] else 4.0)
        assert group["weight_decay"] == (0.01 if group["params"][0].ndim > 1 else 0.0)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("shape", [(24, 8), (8, 24)])
def test_matrices_move_as_torch_moves_them(shape, nesterov):
    """Torch computes the iteration in bfloat16."""
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("needs a torch with Muon")
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(shape, generator=generator)
    ours, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    group = {"params": [ours], "matrices": True, "weight_decay": 0.1}
    options = {"momentum": 0.9, "nesterov": nesterov}
    pair = Muon([group], 0.05, **options), torch.optim.Muon([theirs], 0.05, weight_decay=0.1, **options)
    for _ in range(5):
        ours.grad = torch.randn(shape, generator=generator)
        theirs.grad = ours.grad.clone()
        for optimizer in pair:
            optimizer.step()
    assert (ours - start).norm() > 0.3
    assert (ours - theirs).norm() < 0.02 * (ours - start).norm()


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("nesterov", [False, True])
def test_other_weights_move_as_by_sgd_with_decoupled_decay(nesterov, decay):
    start = torch.randn(6, generator=torch.Generator().manual_seed(2))
    ours, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    pair = (
        Muon([{"params": [ours], "weight_decay": decay}], 0.1, 0.9, nesterov=nesterov),
        torch.optim.SGD([theirs], 0.1, momentum=0.9, nesterov=nesterov),
    )
    for step in range(5):
        for weight, optimizer in zip((ours, theirs), pair, strict=True):
            weight.grad = torch.arange(6.0) - step
            if weight is theirs:
                with torch.no_grad():
                    weight.mul_(1 - 0.1 * decay)
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


def test_a_stopped_run_ends_in_the_same_bits(tmp_path):
    data = open_dataset("digits")
    config, network = plan(data, cw.network("cifar_resnet8"), epochs=0.5, recipe={"optimizer": "muon"})
    whole = train(config, network, data, tmp_path / "whole")
    assert whole.val_accuracy > 0.5
    with pytest.raises(Interrupted):
        train(config, network, data, tmp_path / "stopped", [StopAfter(7)])
    resume(Run.open(tmp_path / "stopped"), data)
    assert_same(last_state(tmp_path / "stopped"), last_state(tmp_path / "whole"))


def test_a_frozen_network_has_no_matrices(tmp_path):
    """The classifier alone is trained, by SGD."""
    data = open_dataset("digits")
    config, network = plan(data, cw.network("cifar_resnet8"), epochs=0.2, recipe={"optimizer": "muon", "freeze": True})
    train(config, network, data, tmp_path / "run")
    groups = Run.open(tmp_path / "run").load_checkpoint()["optimizer"]["param_groups"]
    assert [group["matrices"] for group in groups] == [False, False]
