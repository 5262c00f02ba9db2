"""The notation of Inception's tables: reads what it should, says what it cannot, and survives the operators."""

import pytest
import torch

import convwright as cw
from convwright.arch import fit_resolution
from convwright.arch.layers import Act, Concat, Conv, Norm, Pool, Seq
from convwright.errors import NetworkError
from convwright.zoo import filters
from convwright.zoo.inception import Filters, Inception, InceptionResidual, Reduction


def test_a_row_is_convolutions_normalised_and_activated() -> None:
    read = filters.layers("96 128@1x7/2v max", 1e-3, False)
    assert read == Seq(
        *(Conv(96), Norm(1e-3), Act()),
        *(Conv(128, (1, 7), 2, padding=0), Norm(1e-3), Act()),
        Pool("max", 3, 1, padding=1, include_pad=False),
    )


def test_side_by_side() -> None:
    read = filters.layers("8|16@3", 1e-3, True)
    assert read == Seq(Concat(Seq(Conv(8), Norm(1e-3), Act()), Seq(Conv(16, 3), Norm(1e-3), Act())))


@pytest.mark.parametrize("row", ["64", "96 128@3", "384@3/2v", "max", "avg@5/2", "256@1x3|256@3x1", "max@2/2c"])
def test_written_as_read(row: str) -> None:
    assert filters.changed(row, lambda step: step) == row


@pytest.mark.parametrize("row", ["", "0", "64@", "3x3", "max@3x5", "64@3/2c", "64 ?", "-8", "64@3/0"])
def test_what_is_no_filter_is_named(row: str) -> None:
    with pytest.raises(NetworkError, match="filter"):
        Inception((row,))


def test_width_and_stride_change_inside_the_notation() -> None:
    block = Reduction(("64 96@3/2v", "max@3/2v"))
    assert block.widened(2.0).rows == ("128 192@3/2v", "max/2v")
    plain = block.without_first_stride()
    assert plain == Reduction(("64 96@3", "max"))
    assert plain.without_first_stride() is None
    stem = Filters("64@7/2 max@3/2c")
    once = stem.without_first_stride()
    assert once == Filters("64@3 max@3/2c")
    assert once.without_first_stride() == Filters("64@3 max")


@pytest.mark.parametrize("name", ["googlenet", "bn_inception", "inception_v3", "inception_resnet_v2"])
def test_small_scaled_and_recalibrated(name: str) -> None:
    network = fit_resolution(cw.network(f"{name}|scale:d=0.5,w=0.25|se:4"), 32)
    module = cw.build(network, classes=10)
    assert module(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert sum(weight.numel() for weight in module.parameters()) == cw.cost(network, classes=10).params


@pytest.mark.parametrize("placement", ["standard", "pre", "post", "identity"])
def test_every_place_of_squeeze_and_excitation(placement: str) -> None:
    se = cw.network(f"inception_resnet_v2|se:16,placement={placement}")
    residual = next(block for _, _, block in se.blocks() if isinstance(block, InceptionResidual))
    assert residual.se is not None
    assert residual.se.placement == placement
    cw.cost(se)


def test_a_gate_is_as_wide_as_what_a_pool_hands_on() -> None:
    """BN-Inception's reductions pool what enters, which counts among what is gated."""
    params = cw.cost(cw.network("sebn_inception")).params - cw.cost(cw.network("bn_inception")).params
    widths = (256, 320, 576, 576, 576, 608, 608, 1056, 1024, 1024)
    assert params == sum(2 * width * (width // 16) + width // 16 + width for width in widths)
