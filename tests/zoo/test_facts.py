"""The zoo against what the papers print and define."""

import pytest

import convwright as cw
from convwright.arch import registry
from convwright.arch.layers import Conv
from convwright.zoo.efficientnet import VARIANTS

NAMES = [name for _, name in registry.names()]


def millions(name: str) -> float:
    return cw.cost(cw.network(name)).params / 1e6


def giga_macs(name: str) -> float:
    return cw.cost(cw.network(name)).macs / 1e9


@pytest.mark.parametrize("name", NAMES)
def test_every_named_network_is_built_as_it_is_costed(name: str) -> None:
    network = cw.network(name)
    module, cost = cw.build(network, device="meta"), cw.cost(network)
    assert network.name == name
    assert sum(parameter.numel() for parameter in module.parameters()) == cost.params
    assert cost.stages[-1].output == (network.classes, 1, 1)
    assert network.papers


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("densenet_l40_k12", 1.0),
        ("densenet_l100_k12", 7.0),
        ("densenet_l100_k24", 27.2),
        ("densenet_bc_l100_k12", 0.8),
        ("densenet_bc_l250_k24", 15.3),
        ("densenet_bc_l190_k40", 25.6),
        ("cifar_resnet20", 0.27),
        ("cifar_resnet56", 0.85),
        ("cifar_resnet110", 1.7),
        ("cifar_resnet1202", 19.4),
        ("efficientnet_b0", 5.3),
        ("efficientnet_b1", 7.8),
        ("efficientnet_b3", 12),
        ("efficientnet_b4", 19),
        ("efficientnet_b5", 30),
        ("efficientnet_b6", 43),
        ("efficientnet_b7", 66),
        ("efficientnet_l2", 480),
        ("seresnet50", 28.1),
        ("resnet50", 25.6),
        ("wrn_16_8", 11.0),
        ("wrn_28_10", 36.5),
        ("wrn_40_4", 8.9),
        ("cifar_preact_resnet164", 1.7),
        ("mobilenet_v1", 4.2),
        ("se_mobilenet_v1", 4.7),
        ("vgg16", 138),
        ("senet154", 115.1),
    ],
)
def test_parameters_in_millions_round_to_what_the_papers_print(name: str, printed: float) -> None:
    decimals = len(str(printed).partition(".")[2])
    assert round(millions(name), decimals) == printed


@pytest.mark.parametrize(("reduction", "printed"), [(2, 45.7), (4, 35.7), (8, 30.7), (16, 28.1), (32, 26.9)])
def test_parameters_by_reduction_ratio(reduction: int, printed: float) -> None:
    """SENet, Table 10; the paper rounds some of them up."""
    assert millions(f"resnet50|se:{reduction}") == pytest.approx(printed, abs=0.1)


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("resnet50_v1", 3.86),
        ("seresnet50_v1", 3.87),
        ("resnet101_v1", 7.58),
        ("seresnet101_v1", 7.60),
        ("resnet152_v1", 11.30),
        ("seresnet152_v1", 11.32),
    ],
)
def test_multiply_adds_of_senet_table_2(name: str, printed: float) -> None:
    """The paper counts a little more than convolutions and linear layers, under half a percent."""
    assert 0 <= printed - giga_macs(name) <= 0.0035 * printed


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("resnext50_32x4d", 4.24),
        ("seresnext50_32x4d", 4.25),
        ("resnext101_32x4d", 7.99),
        ("seresnext101_32x4d", 8.00),
        ("vgg16_bn", 15.47),
        ("vgg16_bn|se:16", 15.48),
        ("mobilenet_v1", 0.569),
        ("se_mobilenet_v1", 0.572),
    ],
)
def test_multiply_adds_of_senet_table_2_beyond_resnet(name: str, printed: float) -> None:
    """Within 0.6 %: the paper counts sums and gates too (and its MobileNet's average pool)."""
    assert giga_macs(name) == pytest.approx(printed, rel=0.006)


def test_lite_networks_are_b0_s_without_excitation_and_with_their_own_resolutions() -> None:
    resolutions = [cw.network(f"efficientnet_lite{index}").resolution for index in range(5)]
    assert resolutions == [224, 240, 260, 280, 300]
    for index in range(5):
        network = cw.network(f"efficientnet_lite{index}")
        assert (network.stem.out, network.head.hidden, network.stages[0].repeats) == (32, 1280, 1)  # type: ignore[attr-defined]
        assert all(stage.block.se is None for stage in network.stages)  # type: ignore[attr-defined]


def test_squeeze_and_excitation_raises_parameters_by_ten_percent_and_by_four_without_the_last_stage() -> None:
    plain = millions("resnet50_v1")
    assert millions("seresnet50_v1") / plain == pytest.approx(1.10, abs=0.005)
    assert millions("resnet50_v1|se:16,stages=1-3") / plain == pytest.approx(1.04, abs=0.005)


@pytest.mark.parametrize(
    ("variant", "printed"),
    [("b0", 0.39), ("b1", 0.70), ("b2", 1.0), ("b3", 1.8), ("b4", 4.2), ("b5", 9.9), ("b6", 19), ("b7", 37)],
)
def test_multiply_adds_of_efficientnets(variant: str, printed: float) -> None:
    assert giga_macs(f"efficientnet_{variant}") == pytest.approx(printed, rel=0.05)


@pytest.mark.parametrize("variant", VARIANTS)
def test_efficientnets_are_the_baseline_scaled(variant: str) -> None:
    width, depth, resolution, *_ = VARIANTS[variant]
    scaled = cw.cost(cw.at(cw.scale(cw.network("efficientnet_b0"), depth, width), resolution=resolution))
    published = cw.cost(cw.network(f"efficientnet_{variant}"))
    assert (scaled.params, scaled.macs, scaled.peak) == (published.params, published.macs, published.peak)


@pytest.mark.parametrize(
    ("name", "first", "growth"),
    [("densenet121", 64, 32), ("densenet_l40_k12", 16, 12), ("densenet_bc_l100_k12", 24, 12)],
)
def test_layer_l_of_a_dense_block_reads_k0_plus_k_times_l_minus_1_maps(name: str, first: int, growth: int) -> None:
    network = cw.network(name)
    for stage in cw.cost(network).stages:
        if not stage.name.startswith("dense"):
            continue
        entering = stage.input[0]
        assert entering == first or stage.name != "dense1"
        for index, (_, _, block) in enumerate(stage.blocks):
            convolution = next(row for row in block.layers if isinstance(row.layer, Conv))
            assert convolution.input[0] == entering + growth * index
        assert stage.output[0] == entering + growth * len(stage.blocks)


@pytest.mark.parametrize(
    ("name", "share"), [("densenet121", 0.5), ("densenet_l40_k12", 1), ("densenet_bc_l40_k12_c0.7", 0.7)]
)
def test_a_transition_keeps_its_share_of_the_maps_and_halves_their_sides(name: str, share: float) -> None:
    for stage in cw.cost(cw.network(name)).stages:
        if stage.name.startswith("transition"):
            channels, height, width = stage.input
            assert stage.output == (int(channels * share), height // 2, width // 2)


@pytest.mark.parametrize("depth", [20, 32, 110])
def test_cifar_resnets_have_as_many_layers_as_their_name_says(depth: int) -> None:
    layers = [row.layer for row in cw.cost(cw.network(f"cifar_resnet{depth}")).layers]
    assert sum(type(layer).__name__ in ("Conv", "Linear") for layer in layers) == depth


@pytest.mark.parametrize("name", ["densenet_l40_k12", "densenet_bc_l100_k12", "densenet_b_l22_k6", "densenet_c_l13_k6"])
def test_cifar_densenets_have_as_many_layers_as_their_name_says(name: str) -> None:
    layers = [row.layer for row in cw.cost(cw.network(name)).layers]
    depth = int(name.partition("_l")[2].partition("_")[0])
    assert sum(type(layer).__name__ in ("Conv", "Linear") for layer in layers) == depth


@pytest.mark.parametrize(("name", "strides"), [("resnet50", [1, 2, 1]), ("resnet50_v1", [2, 1, 1])])
def test_the_stride_of_a_bottleneck_is_where_the_name_says(name: str, strides: list[int]) -> None:
    *_, block = next(stage for stage in cw.cost(cw.network(name)).stages if stage.name == "stage2").blocks[0]
    assert [row.layer.stride for row in block.layers if row.path.startswith("add.body.conv")] == strides
