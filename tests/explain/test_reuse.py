"""Feature reuse: which connections are found, what their figures mean, and what cutting them costs."""

import csv
import json
import re

import numpy as np
import pytest
import torch
from torch import nn

import convwright as cw
from convwright.errors import NetworkError, UsageError
from convwright.explain.dense_connections import dense_blocks
from convwright.explain.feature_reuse import feature_reuse
from convwright.explain.pruning import cutting, prune_steps, saved
from convwright.explain.variants import Accuracy

from ..counting import count

DENSE = "densenet_bc_l16_k8|resolution:16"
BASIC = "densenet_l10_k4|resolution:16"
KINDS = (DENSE, BASIC, f"{DENSE}|se:4", f"{BASIC}|se:4,placement=pre", f"{DENSE}|se:4,placement=post")


def built(expression: str, seed: int = 0) -> tuple[cw.Network, nn.Module]:
    """A network whose normalisations do something."""
    network = cw.network(expression)
    module = cw.build(network, seed=seed).eval()
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor in (part.weight.data, part.running_var):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            for tensor in (part.bias.data, part.running_mean):
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)
    return network, module


def test_a_densenet_121_is_read_as_the_paper_draws_it():
    blocks = dense_blocks(cw.network("densenet121"))
    assert [(block.name, len(block.maps) - 1) for block in blocks] == [
        ("dense1", 6), ("dense2", 12), ("dense3", 24), ("dense4", 16)
    ]  # fmt: skip
    assert blocks[0].maps == (64, *[32] * 6)
    assert [reader.target for reader in blocks[0].readers] == [*"123456", "transition1"]
    assert blocks[3].readers[-1].target == "head"


@pytest.mark.parametrize("expression", KINDS)
@pytest.mark.parametrize("placement", ["standard", "pre", "post", "identity"])
def test_readers_are_the_layers_that_read_so_many_maps(expression, placement):
    network = cw.network(f"{expression.partition('|se')[0]}|se:4,placement={placement}")
    module = cw.build(network, device="meta")
    for block in dense_blocks(network):
        for reader in block.readers:
            weight = module.get_submodule(reader.path).weight
            assert weight.shape[1] == sum(reader.maps)
            assert module.get_submodule(reader.norm).num_features == sum(reader.maps)
            assert reader.maps == block.maps[: len(reader.maps)]


def test_a_dense_block_of_several_stages_is_one():
    whole = cw.network(f"{BASIC}|se:4")
    split = cw.recalibrate(whole, None, blocks=["dense1.block2"])
    assert [stage.name for stage in split.stages][:2] == ["dense1", "dense1_2"]
    assert [block.maps for block in dense_blocks(split)] == [block.maps for block in dense_blocks(whole)]


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "inception_v4", "efficientnet_b0", "vgg11"])
def test_without_dense_blocks_that_is_said(name):
    with pytest.raises(NetworkError, match=f"{name} has no dense blocks"):
        dense_blocks(cw.network(name))


@pytest.mark.parametrize("expression", [DENSE, BASIC])
def test_figures_are_the_mean_and_the_norm_of_the_weights(expression):
    network, module = built(expression)
    block = feature_reuse(network, module).blocks[1]
    name = "dense2.block2.new.conv1" if expression is DENSE else "dense2.block2.new.conv"
    weight = module.get_submodule(name).weight.detach().numpy()
    entering = block.maps[0]
    for source, part in enumerate((weight[:, :entering], weight[:, entering:])):
        assert block.raw[source][1] == pytest.approx(np.abs(part).mean())
        assert block.normalised[source][1] == pytest.approx(np.abs(part).sum() / len(part) / part.shape[1])
    assert block.raw[2][1] is None
    assert block.relative[0][0] == 1
    for column in zip(*block.relative, strict=True):
        assert max(value for value in column if value is not None) == 1


def test_the_classifier_is_the_last_column():
    network, module = built(DENSE)
    block = feature_reuse(network, module).blocks[-1]
    weight = module.get_submodule("head.linear").weight.detach().numpy()
    assert block.raw[-1][-1] == pytest.approx(np.abs(weight[:, -8:]).mean())


def test_the_scale_of_the_normalisation_can_be_folded_in():
    network, module = built(DENSE)
    plain, folded = (feature_reuse(network, module, with_norm=norm).blocks[0] for norm in (False, True))
    layer = module.get_submodule("dense1.block1.new")
    expected = (layer.conv1.weight.abs() * layer.norm1.weight.abs()[:, None, None]).mean()
    assert folded.raw[0][0] == pytest.approx(float(expected.detach()))
    assert plain.raw[0][0] != pytest.approx(folded.raw[0][0])


class Select(nn.Module):
    """Some channels of a map."""

    def __init__(self, kept):
        super().__init__()
        self.kept = kept

    def forward(self, x):
        return x.index_select(1, torch.tensor(self.kept, device=x.device))


def really_without(module, connections):
    """Rebuild every reader with fewer input channels, and the normalisation before it."""
    for path in {each.reader.path for each in connections}:
        cut = [each for each in connections if each.reader.path == path]
        reader = cut[0].reader
        lost = {reader.starts[e.source] + index for e in cut for index in range(e.maps)}
        kept = [index for index in range(sum(reader.maps)) if index not in lost]
        before = module.get_submodule(reader.norm)
        norm = nn.BatchNorm2d(len(kept), before.eps)
        for name, tensor in norm.state_dict().items():
            tensor.copy_(before.state_dict()[name][kept] if tensor.ndim else before.state_dict()[name])
        module.set_submodule(reader.norm, nn.Sequential(Select(kept), norm))
        layer = module.get_submodule(reader.path)
        layer.weight = nn.Parameter(layer.weight.detach()[:, kept])
        setattr(layer, "in_channels" if hasattr(layer, "in_channels") else "in_features", len(kept))
    return module.eval()


@pytest.mark.parametrize("expression", KINDS)
def test_savings_are_those_of_a_network_without_these_channels_and_so_are_the_answers(expression):
    network, module = built(expression)
    chosen = [each for each in feature_reuse(network, module).weakest()[::2] if each.source]
    saving = saved(network, chosen)
    images = torch.randn(4, network.channels, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        with cutting(module, chosen):
            zeroed = module(images)
        whole = module(images)
        counted = count(cw.build(network, device="meta"), network.channels, 16)
        less = really_without(module, chosen)
        assert torch.allclose(less(images), zeroed, atol=1e-4)
    assert not torch.allclose(whole, zeroed, atol=1e-2)
    now = count(less, network.channels, 16)
    assert (counted.params - now.params, counted.macs - now.macs) == (saving.params, saving.macs)


def test_pruning_measures_each_share_and_random_cuts_and_leaves_the_network_alone():
    network, module = built(DENSE)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    seen = []

    def measure(changed):
        weights = torch.cat([part.weight.flatten() for part in changed.modules() if isinstance(part, nn.Conv2d)])
        seen.append(int((weights == 0).sum()))
        return Accuracy(0.5, (0.4, 0.6), torch.arange(10) >= len(seen))

    reuse = feature_reuse(network, module)
    steps = list(prune_steps(network, module, reuse, [0, 0.5, 1], measure, draws=2))
    assert [(step.cut, len(step.random)) for step in steps] == [(0, 0), (9, 2), (18, 2)]
    assert steps[0].saving.params == seen[0] == 0
    assert [step.change and step.change.difference for step in steps] == [None, -0.1, -0.4]  # measured 2nd and 5th
    assert steps[1].connections == reuse.weakest()[:9]
    assert max(each.average for each in steps[1].connections) <= min(e.average for e in reuse.weakest()[9:])
    assert steps[1].params + steps[1].saving.params == cw.cost(network).params
    assert all(cut.saving == steps[2].saving for cut in steps[2].random)  # all are cut
    assert steps[1].random[0].saving != steps[1].random[1].saving
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    with pytest.raises(UsageError, match="from 0 to 1"):
        next(prune_steps(network, module, reuse, [1.5], measure))


def test_the_command_prints_values_and_the_cost_of_cutting(convwright, runs, tmp_path):
    table, page = tmp_path / "reuse.csv", tmp_path / "reuse.html"
    answer = convwright(
        "explain", "reuse", runs["dense"], "--json", "--prune", "0.2,1", "--draws", 1, "--csv", table, "--out", page
    )
    assert answer.status == 0, answer.err
    printed = json.loads(answer.out)
    assert [block["targets"][-1] for block in printed["blocks"]] == ["transition1", "transition2", "head"]
    assert "average absolute weight" in printed["definition"]
    whole, some, every = printed["prune"]
    evaluated = json.loads(convwright("evaluate", runs["dense"], "--split", "val", "--json").out)
    assert whole["accuracy"] == evaluated["accuracy"]
    assert whole["interval"] == evaluated["interval"]
    assert (whole["cut"], some["cut"], every["cut"]) == (0, 4, 18)
    assert whole["change"] is whole["change_interval"] is None
    assert every["change"] == pytest.approx(every["accuracy"] - whole["accuracy"])
    assert every["change_interval"][0] < every["change"] < every["change_interval"][1] < 0
    assert every["accuracy"] == every["random"][0]["accuracy"] < whole["accuracy"]
    assert whole["params"] - some["params"] == some["params_saved"] > 0
    rows = list(csv.DictReader(table.open()))
    assert len(rows) == 18
    raw = printed["blocks"][1]["raw"][1][2]
    assert [
        float(r["raw"]) for r in rows if (r["block"], r["source"], r["target"]) == ("dense2", "1", "transition2")
    ] == [pytest.approx(raw)]
    assert "Plotly" in page.read_text()


def test_the_terminal_shows_heat_maps_and_their_definition(convwright, runs):
    out = convwright("explain", "reuse", runs["dense"], "--with-norm", "--prune", "0.5", "--split", "test").out
    assert "dense1 (relative)  to 1  to 2  transition1" in out
    assert "from 2" in out
    assert "Raw: the average absolute weight" in out
    assert "|gamma|" in out
    assert "Accuracy on test images" in out
    assert re.search(r"accuracy +95 % interval +change +95 % interval", out)
    assert "against the whole network" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--prune", "0.1,much"), "--prune: must be shares from 0 to 1 such as 0.1,0.2, not 'much'"),
        (("--prune", "1.2"), "not '1.2'"),
        (("--prune", ","), "none is given"),
        (("--prune", "0.1", "--split", "train"), "--split: must be 'val' or 'test', not 'train'"),
        (("--out", "reuse.png"), "named .html"),
        (("--prune", "0.1", "--draws", "-1"), "--draws: must be a whole number, 0 to 1000000, not -1"),
        (("--draws", "2"), "requires --prune"),
        (("--split", "test"), "requires --prune"),
        (("--csv", "nowhere/reuse.csv"), "--csv: nowhere/reuse.csv: there is no folder nowhere"),
        (("--csv", "."), "is a folder; name a file in it"),
    ],
)
def test_wrong_options_are_errors_of_one_line(convwright, runs, arguments, message):
    answer = convwright("explain", "reuse", runs["dense"], *arguments)
    assert answer.status == 2
    assert message in answer.message


def test_a_run_without_dense_blocks_is_an_error_of_one_line(convwright, runs):
    answer = convwright("explain", "reuse", runs["gated"])
    assert answer.status == 2
    assert "has no dense blocks" in answer.message
