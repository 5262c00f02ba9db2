"""`cost` says what torch counts on the built module."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import convwright as cw
from convwright.arch import Network
from convwright.arch.layers import Conv, Linear
from convwright.arch.network import Stage
from convwright.errors import NetworkError
from convwright.zoo.common import Classifier, Stem
from convwright.zoo.resnet import BasicBlock

from ..counting import count
from ..tiny import RECALIBRATED, TINY
from .strategies import any_networks, buildable, networks, raw, raw_networks


def check(network: Network) -> None:
    cost = cw.cost(network)
    counted = count(cw.build(network, device="meta"), network.channels, network.resolution)
    assert (cost.params, cost.macs, cost.activations) == (counted.params, counted.macs, counted.activations)
    assert counted.output == (network.classes,)
    for stage in cost.stages:
        assert stage.output == counted.outputs[stage.name]
    for row in cost.layers:
        if isinstance(row.layer, Conv | Linear):
            assert row.output == counted.outputs[row.path]


@settings(max_examples=100)
@given(networks | raw)
def test_cost_equals_what_torch_counts(network: Network) -> None:
    check(network)


@given(networks, st.integers(1, 48), st.integers(1, 30), st.integers(1, 5))
def test_cost_at_another_input_and_output_is_that_of_the_network_made_for_them(
    network: Network, resolution: int, classes: int, channels: int
) -> None:
    try:
        given_size = cw.cost(network, resolution, classes=classes, channels=channels)
    except NetworkError:
        with pytest.raises(NetworkError):
            cw.at(network, resolution=resolution, classes=classes, channels=channels)
        return
    adapted = cw.at(network, resolution=resolution, classes=classes, channels=channels)
    assert given_size.stages == cw.cost(adapted).stages
    check(adapted)


@pytest.mark.parametrize("expression", [*TINY.values(), *RECALIBRATED.values()], ids=[*TINY, *RECALIBRATED])
def test_cost_equals_what_torch_counts_for_every_family_and_placement(expression: str) -> None:
    check(cw.network(expression))


@given(any_networks() | raw_networks())
def test_networks_that_cost_refuses_are_not_built(network: Network) -> None:
    if buildable(network):
        cw.build(network, device="meta")
    else:
        with pytest.raises(NetworkError, match=re.escape(network.name)):
            cw.build(network, device="meta")


@given(networks | raw)
def test_stages_and_layers_add_up_to_the_whole(network: Network) -> None:
    cost = cw.cost(network)
    rows = list(cost.layers)
    for figure in ("params", "macs", "elementwise", "activations"):
        whole = getattr(cost, figure)
        assert whole == sum(getattr(stage, figure) for stage in cost.stages)
        assert whole == sum(getattr(row, figure) for row in rows)
    assert cost.peak == max(stage.peak for stage in cost.stages)
    assert len({row.path for row in rows}) == len(rows)
    shape = (network.channels, network.resolution, network.resolution)
    for stage in cost.stages:
        assert stage.input == shape
        shape = stage.output
    assert shape == (network.classes, 1, 1)


def test_other_work_is_one_operation_an_element() -> None:
    network = Network("probe", Stem(8), (Stage("block", BasicBlock(8)),), Classifier(), 6, 3, 5)
    others = [row for row in cw.cost(network).layers if not isinstance(row.layer, Conv | Linear)]
    assert {row.path.rsplit(".", 1)[-1].rstrip("12") for row in others} == {"norm", "relu", "add", "pool"}
    assert all(row.elementwise == 8 * 6 * 6 for row in others)  # norms, ReLUs, the sum and the elements pooled


def test_memory_in_bytes_counts_weights_and_the_peak_of_activations() -> None:
    cost = cw.cost(cw.network("cifar_resnet20"))
    assert cost.peak_bytes() == 4 * cost.peak
    assert cost.memory_bytes(2) == 2 * (cost.peak + cost.params)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"resolution": 0}, "1 or more"),
        ({"classes": 0}, "1 or more"),
        ({"channels": -1}, "1 or more"),
        ({"resolution": 15}, "resolution of 15 is too small: at transition3"),
    ],
)
def test_impossible_sizes_are_refused(sizes: dict[str, int], message: str) -> None:
    network = cw.network("densenet121")
    with pytest.raises(NetworkError, match=message):
        cw.cost(network, **{"resolution": 224} | sizes)
