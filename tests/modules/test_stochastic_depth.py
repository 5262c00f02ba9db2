"""Stochastic depth: which blocks it drops, how often, and that evaluation needs no correction."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import convwright as cw
from convwright.modules.combinators import Sum


def sums(module: nn.Module) -> list[Sum]:
    return [part for part in module.modules() if isinstance(part, Sum)]


def test_rates_rise_linearly_from_block_to_block() -> None:
    network = replace(cw.network("cifar_resnet20"), stochastic_depth=0.45)
    assert [part.drop_rate for part in sums(cw.build(network, device="meta"))] == pytest.approx(
        [0.45 * index / 9 for index in range(9)]
    )


def test_rates_of_efficientnet_are_those_of_torchvision() -> None:
    models = pytest.importorskip("torchvision.models")
    stochastic = pytest.importorskip("torchvision.ops").StochasticDepth
    with torch.device("meta"):
        theirs = [
            block.stochastic_depth.p
            for block in models.efficientnet_b0().modules()
            if getattr(block, "use_res_connect", False) and isinstance(block.stochastic_depth, stochastic)
        ]
    ours = [part.drop_rate for part in sums(cw.build(cw.network("efficientnet_b0"), device="meta"))]
    assert ours == pytest.approx(theirs)


def test_a_dropped_body_leaves_the_shortcut_and_a_kept_one_is_enlarged() -> None:
    torch.manual_seed(0)
    joint = Sum([("body", nn.Identity()), ("shortcut", nn.Identity())], drop_rate=0.25)
    x = torch.randn(4000, 2, 3, 3)
    ratios = (joint(x) / x).flatten(1)
    assert torch.allclose(ratios, ratios[:, :1], atol=1e-5), "an image's body is dropped as a whole"
    dropped = torch.isclose(ratios[:, 0], torch.tensor(1.0))
    assert torch.allclose(ratios[~dropped], torch.tensor(1 + 1 / 0.75))
    assert dropped.float().mean().item() == pytest.approx(0.25, abs=0.035)  # five standard deviations
    assert ratios.mean().item() == pytest.approx(2, abs=0.05)


def test_evaluation_drops_nothing() -> None:
    joint = Sum([("body", nn.Identity()), ("shortcut", nn.Identity())], drop_rate=0.9).eval()
    x = torch.randn(64, 2, 3, 3)
    assert torch.equal(joint(x), 2 * x)
    assert "drop_rate=0.9" in repr(joint)
