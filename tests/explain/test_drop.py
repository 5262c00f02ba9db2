"""Squeeze-and-excitation taken out: single blocks of the language, means folded into weights, and runs written."""

import json

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

import convwright as cw
from convwright.arch.cost import cost
from convwright.errors import NetworkError
from convwright.explain.dropping import drop_order, folded, gated_blocks, without
from convwright.explain.excitation import measure_excitations
from convwright.explain.gate_folding import fold
from convwright.explain.variants import Accuracy

from ..arch.strategies import any_networks, buildable
from ..arch.strategies import excitations as gate_fields
from ..counting import count
from ..tiny import RECALIBRATED


def lively(network: cw.Network, seed: int = 0) -> nn.Module:
    """A built network whose normalisations do something."""
    module = cw.build(network, seed=seed).eval()
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor in (part.weight.data, part.running_var):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            for tensor in (part.bias.data, part.running_mean):
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.2)
    return module


def means_of(module, gates, seed=0):
    """Some factors for every gate; among them a channel that is shut."""
    generator = torch.Generator().manual_seed(seed)
    means = {}
    for each in gates:
        last = [part for part in module.get_submodule(each.gate).modules() if isinstance(part, nn.Conv2d)][-1]
        means[each.gate] = torch.rand(last.out_channels, generator=generator, dtype=torch.float64)
        means[each.gate][0] = 0
    return means


def logits_with_constants(module, gates, means, images):
    """The logits of the network with gates that are constants."""
    handles = [
        module.get_submodule(each.gate).register_forward_hook(
            lambda _, inputs, __, factors=means[each.gate]: inputs[0] * factors.float()[:, None, None]
        )
        for each in gates
    ]
    with torch.no_grad():
        logits = module(images)
    for handle in handles:
        handle.remove()
    return logits


def check_folding(network, chosen):
    """Fold some gates; where that claims to be exact, hold it to constants in their place."""
    module = lively(network)
    means = means_of(module, chosen)
    changed = without(network, chosen)
    variant, inexact = folded(network, module, changed, chosen, means)
    images = torch.randn(2, network.channels, network.resolution, network.resolution)
    expected = logits_with_constants(module, chosen, means, images)
    with torch.no_grad():
        answers = variant(images)
    assert answers.shape == expected.shape
    if not inexact:
        assert torch.allclose(answers, expected, rtol=1e-3, atol=1e-4 * max(1.0, float(expected.abs().max())))
    return inexact


@pytest.mark.parametrize("name", RECALIBRATED)
def test_means_are_folded_into_the_weights_of_every_family_in_every_place(name):
    network = cw.network(RECALIBRATED[name])
    chosen = gated_blocks(network)
    inexact = check_folding(network, chosen)
    family, _, placement = name.rpartition("-")
    if placement in ("standard", "pre") or family.startswith("dense"):
        assert not inexact
    else:
        assert set(inexact) < {each.block for each in chosen} or placement == "identity"


@settings(max_examples=25)
@given(any_networks(gate_fields).filter(buildable), st.data())
def test_what_claims_to_be_exact_is(network, data):
    try:
        every = gated_blocks(network)
    except NetworkError:
        assume(False)
    chosen = data.draw(st.lists(st.sampled_from(every), unique=True, min_size=1))
    check_folding(network, chosen)


def test_where_an_identity_shortcut_stands_in_the_way_the_body_is_scaled():
    network = cw.network("cifar_seresnet14|se:4,placement=post")
    second = next(each for each in gated_blocks(network) if each.block == "stage1.block2")
    folding = fold(network, second.gate, torch.full((16,), 0.5, dtype=torch.float64))
    assert not folding.exact
    assert [(edit.path, edit.side) for edit in folding.edits] == [("stage1.block2.add.body.norm2", "out")]
    with pytest.raises(NetworkError, match="no gate at stem"):
        fold(network, "stem", torch.ones(16))


def test_single_blocks_lose_it_and_stages_are_split_around_them():
    network = cw.network("cifar_seresnet20|se:none,blocks=stage1.block2+stage3.block3")
    assert [(stage.name, stage.repeats, stage.block.se is None) for stage in network.stages] == [
        ("stage1", 1, False), ("stage1_2", 1, True), ("stage1_3", 1, False),
        ("stage2", 3, False),
        ("stage3", 2, False), ("stage3_3", 1, True),
    ]  # fmt: skip
    assert network.stages[-1].block.stride == 1
    assert cw.network(network.name) == network
    counted = count(cw.build(network, device="meta"), 3, 32)
    assert (counted.params, counted.macs) == (cost(network).params, cost(network).macs)
    whole = cw.network("cifar_seresnet20")
    gates = [cost(cw.recalibrate(whole, None, blocks=[path])).params for path in ("stage1.block2", "stage3.block3")]
    assert sum(cost(whole).params - without for without in gates) == cost(whole).params - cost(network).params


def test_without_the_last_stages_the_papers_network_has_four_percent_more_instead_of_ten():
    network = cw.network("seresnet50_v1")
    bare = cost(cw.recalibrate(network, None)).params
    assert cost(network).params / bare - 1 == pytest.approx(0.10, abs=0.002)
    assert cost(cw.recalibrate(network, None, stages=[4])).params / bare - 1 == pytest.approx(0.04, abs=0.003)


def test_all_blocks_of_a_stage_are_the_stage():
    network = cw.network("cifar_seresnet20")
    blocks = [f"stage3.block{index}" for index in (1, 2, 3)]
    assert cw.recalibrate(network, None, blocks=blocks) == cw.recalibrate(network, None, stages=["stage3"])


@pytest.mark.parametrize(
    ("operator", "message"),
    [
        ("se:none,blocks=stage1.block9", "has no block 'stage1.block9'"),
        ("se:none,blocks=stem", "stem has no place for"),
        ("se:16,blocks=stage1.block1,stages=1", "by stages or by blocks"),
    ],
)
def test_blocks_that_are_not_there_are_named(operator, message):
    with pytest.raises(NetworkError, match=message):
        cw.network(f"cifar_seresnet20|{operator}")


def test_stages_go_from_the_last_and_blocks_from_the_least_useful():
    network = cw.network("cifar_seresnet14")
    assert [name for name, _ in drop_order(network, "stages")] == ["stage3", "stage2", "stage1"]
    images = torch.randn(30, 3, 32, 32)
    found = measure_excitations(
        cw.build(network, seed=0), [(images, torch.arange(30) % 10)], [str(i) for i in range(10)]
    )
    order = [gated.gate for _, (gated,) in drop_order(network, "blocks", found)]
    variation = {block.name: block.variation for block in found.blocks}
    assert order == sorted(variation, key=variation.__getitem__)


def test_nothing_to_drop_is_said():
    with pytest.raises(NetworkError, match="no squeeze-and-excitation to take out"):
        gated_blocks(cw.network("resnet18"))


def test_dropping_gives_accuracy_and_cost_at_every_step(convwright, runs):
    answer = convwright("explain", "excitation", runs["gated"], "--drop", "--json")
    assert answer.status == 0, answer.err
    steps = json.loads(answer.out)["drop"]
    assert [step["without"] for step in steps] == ["-", "stage3", "stage2", "stage1"]
    evaluated = json.loads(convwright("evaluate", runs["gated"], "--split", "val", "--json").out)
    assert steps[0]["accuracy"] == evaluated["accuracy"]
    for step in steps:
        counted = cost(cw.network(step["network"]))
        assert (counted.params, counted.macs) == (step["params"], step["macs"])
        assert step["interval"][0] <= step["accuracy"] <= step["interval"][1]
        assert step["inexact"] == []
    for step in steps[1:]:
        assert step["change"] == pytest.approx(step["accuracy"] - steps[0]["accuracy"])
        assert step["change_interval"][0] < step["change"] < step["change_interval"][1]
    assert steps[0]["change"] is None
    assert steps[-1]["over_none"] == 0
    assert steps[-1]["accuracy"] > 0.3  # the means keep the network alive


def test_a_change_is_computed_from_pairs_of_predictions():
    """Two variants that are right about 600 of 1000 images: the same ones, or half of them others."""
    before = Accuracy(0.6, (0.57, 0.63), torch.arange(1000) < 600)
    same, (low, high) = before.change_from(before)
    assert same == 0
    assert -0.004 < low < 0 < high < 0.004
    other = Accuracy(0.6, (0.57, 0.63), torch.arange(1000) >= 400)
    same, (low, high) = other.change_from(before)
    assert same == 0
    assert low == pytest.approx(-0.0555, abs=5e-4)
    assert high == -low
    worse = Accuracy(0.5, (0.47, 0.53), torch.arange(1000) < 500)
    lost, (low, high) = worse.change_from(before)
    assert lost == -0.1
    assert low < -0.1 < high < -0.08


def test_steps_are_measured_on_the_requested_images(convwright, runs, tmp_path):
    drop, page = ("explain", "excitation", runs["gated"], "--drop", "--split", "test"), tmp_path / "drop.html"
    first = json.loads(convwright(*drop, "--json", "--out", page).out)["drop"][0]
    evaluated = json.loads(convwright("evaluate", runs["gated"], "--split", "test", "--json").out)
    assert (first["split"], first["accuracy"]) == ("test", evaluated["accuracy"])
    assert "Accuracy on test images" in page.read_text()
    answer = convwright(*drop, "--save", 1, "--out", tmp_path / "new")
    assert answer.status == 2
    assert "--save: must be a step that is measured on validation images" in answer.message


def test_a_step_is_written_as_a_run_that_other_commands_take(convwright, runs, tmp_path):
    new = tmp_path / "lean"
    drop = ("explain", "excitation", runs["gated"], "--drop", "--by", "blocks")
    answer = convwright(*drop, "--save", 2, "--out", new)
    assert answer.status == 0, answer.err
    steps = json.loads(convwright(*drop, "--json").out)["drop"]
    evaluated = json.loads(convwright("evaluate", new, "--split", "val", "--json").out)
    assert evaluated["network"] == steps[2]["network"]
    assert evaluated["accuracy"] == steps[2]["accuracy"]
    assert "nothing to do" in convwright("train", "--resume", new).err
    again = convwright("explain", "excitation", new, "--json")
    assert len(json.loads(again.out)["blocks"]) == 4
    summary = json.loads((new / "summary.json").read_text())
    assert summary["derived_from"] == str(runs["gated"])
    assert summary["params"] == steps[2]["params"]
    taken = convwright(*drop, "--save", 2, "--out", new)
    assert taken.status == 2
    assert "already holds a run" in taken.message


def test_a_step_that_does_not_exist_is_an_error_before_anything_is_measured(convwright, runs, tmp_path, monkeypatch):
    new = tmp_path / "lean"
    monkeypatch.setattr(torch.nn.Module, "__call__", None)
    answer = convwright("explain", "excitation", runs["gated"], "--drop", "--save", 9, "--out", new)
    assert answer.status == 2
    assert "--save: must be a step from 1 to 3, not 9" in answer.message
    assert not new.exists()
    answer = convwright("explain", "excitation", runs["gated"], "--drop", "--by", "blocks", "--save", 9, "--out", new)
    assert "--save: must be a step from 1 to 6" in answer.message
