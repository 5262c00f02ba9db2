"""Operators: what each leaves unchanged, rounds and refuses, over random networks and the zoo."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import convwright as cw
from convwright.arch import Network, registry
from convwright.arch.rounding import round_depth, round_resolution, round_width, width_unit
from convwright.errors import NetworkError
from convwright.zoo.densenet import DenseLayer

from ..counting import count
from ..tiny import TINY
from .strategies import PLACEMENTS, networks, plain_networks

factors = st.floats(0.1, 4)
FAMILIES = ("cifar_seresnet20", "densenet_bc_l40_k12", "resnet18", "resnet50_v1", "efficientnet_b0", "densenet121")


def written(draw: st.DrawFn) -> str:
    """One operator as it stands in an expression."""
    scale = [f"{key}={draw(st.floats(0.25, 3))!r}" for key in draw(st.sets(st.sampled_from("dwr"), min_size=1))]
    return draw(
        st.sampled_from(
            (
                f"scale:{','.join(scale)}",
                f"phi:{draw(st.floats(-1, 2))!r},gamma={draw(st.floats(1, 2))!r}",
                f"se:{draw(st.floats(1, 64))!r},placement={draw(PLACEMENTS)},least={draw(st.integers(1, 9))}",
                f"se:{draw(st.integers(1, 64))},act=silu,gate=hardsigmoid,of=input,stages=1-2",
                "se:none",
                f"fit:{draw(st.integers(1, 64))},least={draw(st.integers(1, 8))}",
                f"resolution:{draw(st.integers(16, 64))}",
                f"classes:{draw(st.integers(1, 50))}",
                f"stages:1-{draw(st.integers(1, 4))}",
                f"channels:{draw(st.integers(1, 5))}",
            )
        )
    )


@st.composite
def chains(draw: st.DrawFn) -> list[str]:
    return [written(draw) for _ in range(draw(st.integers(1, 4)))]


@settings(max_examples=40)
@given(st.sampled_from(sorted(TINY.values())), chains())
def test_chains_of_operators_leave_networks_that_can_be_built_and_are_named_by_what_rebuilds_them(
    expression: str, chain: list[str]
) -> None:
    network = cw.network(expression)
    for operator in chain:
        try:
            network = cw.network(f"{network.name}|{operator}")
        except NetworkError:
            continue
    assert count(cw.build(network, device="meta"), network.channels, network.resolution).output == (network.classes,)
    assert cw.network(network.name) == network


@given(networks, factors, factors, factors)
def test_a_scaled_network_can_be_built(network: Network, depth: float, width: float, resolution: float) -> None:
    try:
        scaled = cw.scale(network, depth, width, resolution)
    except NetworkError:
        return
    image = torch.empty(1, scaled.channels, scaled.resolution, scaled.resolution, device="meta")
    assert cw.build(scaled, device="meta").eval()(image).shape == (1, network.classes)


@given(networks, st.integers(1, 64), st.integers(1, 8))
def test_a_fitted_network_can_be_built_and_keeps_a_useful_map(network: Network, resolution: int, least: int) -> None:
    fitted = cw.fit_resolution(network, resolution, least)
    last = min(cw.cost(fitted).stages[-1].input[1:])
    without_strides = cw.fit_resolution(network, resolution, least=1000)
    assert last >= min(least, min(cw.cost(without_strides).stages[-1].input[1:]))
    image = torch.empty(1, fitted.channels, resolution, resolution, device="meta")
    assert cw.build(fitted, device="meta").eval()(image).shape == (1, network.classes)


@given(networks, st.integers(1, 64))
def test_fitting_twice_is_fitting_once(network: Network, resolution: int) -> None:
    fitted = cw.fit_resolution(network, resolution)
    assert cw.fit_resolution(fitted, resolution) is fitted


def test_fitting_drops_strides_from_the_stem_on_and_only_as_many_as_needed() -> None:
    network = cw.network("resnet50|fit:32")
    assert [stage.output[1] for stage in cw.cost(network).stages[:-1]] == [32, 32, 16, 8, 4]
    assert network.stem.kernel == 3  # type: ignore[attr-defined]
    assert cw.network("resnet50|fit:224") == cw.network("resnet50")


@given(networks)
def test_scaling_by_one_is_the_identity(network: Network) -> None:
    assert cw.scale(network) is network
    assert cw.scale(network, 1.0, 1.0, 1.0) is network


@given(networks, st.floats(1, 3), st.floats(1, 3), st.floats(1, 3))
def test_compound_scaling_with_phi_zero_is_the_identity(network: Network, a: float, b: float, c: float) -> None:
    assert cw.compound(network, 0, a, b, c) is network


@given(networks)
def test_setting_a_network_to_its_own_sizes_is_the_identity(network: Network) -> None:
    own = cw.at(network, resolution=network.resolution, channels=network.channels, classes=network.classes)
    assert own is network


@given(plain_networks, st.floats(1, 64), PLACEMENTS, st.integers(1, 8))
def test_adding_then_removing_squeeze_and_excitation_gives_the_same_network(
    network: Network, reduction: float, placement: str, least: int
) -> None:
    if not any(stage.block.gateable for stage in network.stages):
        with pytest.raises(NetworkError, match="no block has a place"):
            cw.recalibrate(network, reduction)
        return
    try:
        recalibrated = cw.recalibrate(network, reduction, placement=placement, least=least)
    except NetworkError as error:
        places = [block for _, _, block in network.blocks() if getattr(block, "gateable", False)]
        assert placement == "identity"
        assert "has a shortcut" in str(error)  # noqa: PT017
        assert places
        return
    assert recalibrated != network
    assert cw.recalibrate(recalibrated, None) == network
    assert cw.recalibrate(network, None) is network


def test_recalibrating_resnet_gives_the_se_resnet() -> None:
    assert cw.network("resnet50|se:16") == cw.network("seresnet50")
    assert cw.recalibrate(cw.network("seresnet50"), 16).name == "seresnet50"


@pytest.mark.parametrize(
    ("stages", "gated"),
    [
        ("1-3", ["stage1", "stage2", "stage3"]),
        ("4+1", ["stage1", "stage4"]),
        ("stage2", ["stage2"]),
        ("1-2+stage4", ["stage1", "stage2", "stage4"]),
    ],
)
def test_recalibrating_chosen_stages(stages: str, gated: list[str]) -> None:
    network = cw.network(f"resnet50|se:16,stages={stages}")
    assert [stage.name for stage in network.stages if stage.block.se is not None] == gated  # type: ignore[attr-defined]


def test_stages_count_without_transitions() -> None:
    network = cw.network("densenet121|se:16,stages=4")
    assert [s.name for s in network.stages if isinstance(s.block, DenseLayer) and s.block.se] == ["dense4"]


# Scaling


@given(st.integers(1, 2048), st.floats(0.01, 10))
def test_widths_are_multiples_of_their_unit_and_at_least_90_percent_of_the_scaled_width(
    width: int, factor: float
) -> None:
    rounded = round_width(width, factor)
    unit = width_unit(width)
    assert rounded % unit == 0
    assert rounded >= max(unit, 0.9 * width * factor)
    assert rounded <= width * factor + unit


@given(st.integers(1, 256), st.floats(0.01, 10))
def test_widths_that_are_multiples_of_eight_round_as_the_reference_implementation(width: int, factor: float) -> None:
    asked = 8 * width * factor
    reference = max(8, int(asked + 4) // 8 * 8)
    reference += 8 if reference < 0.9 * asked else 0
    assert round_width(8 * width, factor) == reference


@given(st.integers(1, 2048), factors, factors)
def test_widths_grow_with_the_factor(width: int, one: float, other: float) -> None:
    assert round_width(width, min(one, other)) <= round_width(width, max(one, other))


@given(st.integers(1, 100), factors)
def test_depths_are_rounded_up(repeats: int, factor: float) -> None:
    assert round_depth(repeats, factor) == math.ceil(repeats * factor)


@given(st.integers(1, 1000), factors)
def test_resolutions_are_the_nearest_even_number(resolution: int, factor: float) -> None:
    rounded = round_resolution(resolution, factor)
    assert rounded == resolution if factor == 1 else rounded % 2 == 0
    assert rounded == 2 or abs(rounded - resolution * factor) <= 1


@given(networks, factors, factors)
def test_every_repeatable_stage_is_deepened_and_every_width_scaled(
    network: Network, depth: float, width: float
) -> None:
    try:
        scaled = cw.scale(network, depth, width)
    except NetworkError:
        return
    for before, after in zip(network.stages, scaled.stages, strict=True):
        block = before.block
        assert after.repeats == (math.ceil(before.repeats * depth) if block.repeatable else before.repeats)
        for name in block.widths:
            assert getattr(after.block, name) == round_width(getattr(block, name), width)


@settings(max_examples=30)
@given(st.sampled_from(FAMILIES), st.sampled_from(("depth", "width", "resolution")), factors, factors)
def test_multiply_adds_grow_with_each_factor(name: str, what: str, one: float, other: float) -> None:
    network, small, large = cw.network(name), min(one, other), max(one, other)
    try:
        less = cw.scale(network, **{what: small})
    except NetworkError:
        assert what == "resolution"
        return
    assert cw.cost(less).macs <= cw.cost(cw.scale(network, **{what: large})).macs


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("what", ["depth", "width", "resolution"])
def test_doubling_a_factor_costs_more(name: str, what: str) -> None:
    network = cw.network(name)
    assert cw.cost(cw.scale(network, **{what: 2})).macs > 1.5 * cw.cost(network).macs


def test_compound_scaling_is_scaling_by_powers() -> None:
    network = cw.network("efficientnet_b0")
    assert cw.compound(network, 2) == cw.scale(network, 1.2**2, 1.1**2, 1.15**2)
    assert cw.compound(network, 2).name == "efficientnet_b0|phi:2"
    assert cw.compound(network, 1.5, 1.3, 1.0, 1.15).name == "efficientnet_b0|phi:1.5,alpha=1.3,beta=1"


@pytest.mark.parametrize("placement", ["standard", "pre", "post", "identity"])
def test_squeeze_and_excitation_changes_no_shape(placement: str) -> None:
    for name in FAMILIES:
        plain, gated = cw.network(f"{name}|se:none"), cw.network(f"{name}|se:8,placement={placement}")
        outputs = [[stage.output for stage in cw.cost(network).stages] for network in (plain, gated)]
        assert outputs[0] == outputs[1]
        assert cw.cost(gated).params > cw.cost(plain).params


@pytest.mark.parametrize(
    ("operate", "message"),
    [
        (lambda network: cw.scale(network, depth=0), "a depth factor must be above 0 and at most 100, not 0"),
        (lambda network: cw.scale(network, width=-1), "a width factor"),
        (lambda network: cw.scale(network, resolution=math.nan), "a resolution factor"),
        (lambda network: cw.scale(network, resolution=math.inf), "a resolution factor"),
        (lambda network: cw.scale(network, depth=101), "a depth factor"),
        (lambda network: cw.compound(network, math.inf), "phi must be a number"),
        (lambda network: cw.compound(network, 1e6), "phi must be a number from -100 to 100"),
        (lambda network: cw.compound(network, 10**9, alpha=100), "phi must be a number from -100 to 100"),
        (lambda network: cw.compound(network, 1, alpha=0.9), "alpha must be a number from 1"),
        (lambda network: cw.compound(network, 1, gamma=math.nan), "gamma must be a number from 1"),
        (lambda network: cw.compound(network, 40), "a depth factor"),
        (lambda network: cw.recalibrate(network, 0), "a reduction ratio must be a number from 1"),
        (lambda network: cw.recalibrate(network, math.nan), "a reduction ratio must be a number from 1"),
        (lambda network: cw.recalibrate(network, 16, least=0), "squeezed width of .* must be 1 or more"),
        (lambda network: cw.recalibrate(network, 16, stages=[0]), "has stages 1 to 4, not 0"),
        (lambda network: cw.recalibrate(network, 16, stages=["stem"]), "has no stage 'stem'; it has dense1"),
        (lambda network: cw.recalibrate(network, 16, stages=["transition1"]), "stage transition1 has no place"),
        (lambda network: cw.fit_resolution(network, 0), "1 or more"),
        (lambda network: cw.fit_resolution(network, 32, least=0), "1 or more"),
        (lambda network: cw.at(network, resolution=8), "too small"),
        (lambda network: cw.at(network, classes=0), "classes must be 1 or more"),
        (lambda network: cw.scale(cw.scale(network, depth=2), depth=100), "blocks are too many"),
    ],
)
def test_operators_that_make_no_network_are_refused(operate: object, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        operate(cw.network("densenet121"))  # type: ignore[operator]


# Truncation


@pytest.mark.parametrize("name", [name for _, name in registry.names()])
def test_a_truncated_network_is_the_beginning_of_the_network(name: str) -> None:
    network = cw.network(name)
    whole = cw.cost(network)
    repeatable = [stage.name for stage in network.stages if stage.block.repeatable]
    last, number = network.stages[-1].name, len(repeatable) // 2 or 1
    assert cw.truncate(network, last) is network
    truncated = cw.truncate(network, number)
    assert truncated == cw.network(f"{name}|stages:1-{number}") == cw.truncate(network, repeatable[number - 1])
    assert truncated.stages == network.stages[: len(truncated.stages)]
    assert [stage.name for stage in truncated.stages][-1] == repeatable[number - 1]
    assert (truncated.head, truncated.classes, truncated.resolution) == (
        network.head, network.classes, network.resolution,
    )  # fmt: skip
    cost = cw.cost(truncated)
    assert cost.stages[:-1] == whole.stages[: len(cost.stages) - 1]
    assert cost.macs < whole.macs or truncated == network
    assert Network.from_json_text(truncated.to_json_text()) == truncated


@pytest.mark.parametrize("name", FAMILIES)
def test_a_truncated_network_can_be_built_scaled_and_fitted(name: str) -> None:
    for expression in ("stages:1-2", "stages:1-1|scale:d=2,w=0.5", "fit:32|stages:1-2", "stages:1-2|fit:32|classes:7"):
        network = cw.network(f"{name}|{expression}")
        built = count(cw.build(network, device="meta"), network.channels, network.resolution)
        assert built.output == (network.classes,)
        assert (built.params, built.macs) == (cw.cost(network).params, cw.cost(network).macs)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("resnet18|stages:1-5", "has stages 1 to 4, not 5"),
        ("resnet18|stages:1-0", "has stages 1 to 4, not 0"),
        ("resnet18|stages:2-3", "write stages:1-5"),
        ("resnet18|stages:3", "write stages:1-5"),
        ("resnet18|stages:", "write stages:1-5"),
        ("resnet18|stages:1-stage9", "has no stage 'stage9'"),
    ],
)
def test_stages_that_are_not_there_are_refused(expression: str, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        cw.network(expression)


@given(
    st.lists(
        st.one_of(
            st.sampled_from((32, 48, 64)).map("resolution:{}".format),
            st.integers(2, 5).map("classes:{}".format),
            st.integers(1, 3).map("channels:{}".format),
            st.sampled_from((0.1, 0.25)).map("dropout:{}".format),
            st.sampled_from(("scale:w=0.5", "se:4", "scale:d=2")),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_of_operations_that_set_one_value_the_last_is_in_the_name(operations: list[str]) -> None:
    found = cw.network("|".join(["efficientnet_lite0|fit:32", *operations]))
    assert cw.network(found.name) == found
    kinds: list[str] = []
    for operation in found.name.split("|")[2:]:
        kind = operation.partition(":")[0]
        kinds = [*kinds, kind] if kind in ("resolution", "classes", "channels", "dropout") else []
        assert len(set(kinds)) == len(kinds), found.name
