"""Squeeze-and-excitation by the operator alone, in every network of the zoo."""

import pytest

import convwright as cw
from convwright.arch.layers import Add, Gate
from convwright.arch.registry import names
from convwright.errors import NetworkError

EVERY = [name for _, name in names()]
WITHOUT_SHORTCUTS = ("vgg", "googlenet", "bn_inception", "sebn_inception", "inception_v3", "inception_v4")
NO_IDENTITY = [name for name in EVERY if name.startswith(WITHOUT_SHORTCUTS) or name.endswith("mobilenet_v1")]


def gates(expression: str) -> int:
    return sum(isinstance(row.layer, Gate) for row in cw.cost(cw.network(expression)).layers)


@pytest.mark.parametrize("name", EVERY)
def test_the_operator_gates_every_network(name: str) -> None:
    plain = cw.network(f"{name}|se:none")
    gateable = sum(stage.repeats for stage in plain.stages if stage.block.gateable)
    assert gates(plain.name) == 0
    assert gates(f"{name}|se:16") == gateable > 0
    assert cw.cost(cw.network(f"{name}|se:16")).params > cw.cost(plain).params
    last = next(stage for stage in reversed(plain.stages) if stage.block.gateable)
    others = "+".join(stage.name for stage in plain.stages if stage.block.gateable and stage.name != last.name)
    assert gates(f"{name}|se:none|se:16,stages={others}") == gateable - last.repeats, "left out of the last stage"


@pytest.mark.parametrize("name", EVERY)
def test_all_four_placements_where_there_is_a_shortcut(name: str) -> None:
    for placement in ("pre", "post"):
        assert gates(f"{name}|se:16,placement={placement}") == gates(f"{name}|se:16")
    if name in NO_IDENTITY:
        with pytest.raises(NetworkError, match=r"no block of .* has a shortcut that the identity placement could gate"):
            cw.network(f"{name}|se:16,placement=identity")
    elif not name.startswith("densenet"):
        rows = list(cw.cost(cw.network(f"{name}|se:none")).layers)
        sums = sum(isinstance(row.layer, Add) for row in rows)
        assert gates(f"{name}|se:16,placement=identity") >= sums > 0
    else:
        assert gates(f"{name}|se:16,placement=identity") == gates(f"{name}|se:16")


def test_a_stage_without_shortcuts_has_no_identity_to_gate() -> None:
    with pytest.raises(NetworkError, match="mobilenet_v2: no block of stage1 has a shortcut"):
        cw.network("mobilenet_v2|se:16,placement=identity,stages=1")


@pytest.mark.parametrize(
    ("name", "expression"),
    [
        ("seresnet50", "resnet50|se:16"),
        ("seresnext101_32x4d", "resnext101_32x4d|se:16"),
        ("sebn_inception", "bn_inception|se:16"),
        ("seinception_resnet_v2", "inception_resnet_v2|se:16"),
        ("se_mobilenet_v1", "mobilenet_v1|se:16"),
    ],
)
def test_named_versions_are_the_operator_s(name: str, expression: str) -> None:
    assert cw.network(name) == cw.network(expression)
