"""Excitations: what is recorded, what is computed of it, and in whose networks."""

import json
import re

import pytest
import timm
import torch
import torchvision
from torch import nn

import convwright as cw
from convwright.errors import NetworkError, UsageError
from convwright.explain.excitation import (
    FEWEST_IMAGES,
    MOST_SHOWN,
    BlockExcitation,
    chosen_classes,
    measure_excitations,
)
from convwright.explain.excitation_figures import by_class, within_class
from convwright.explain.excitation_gates import gates, recording

from ..tiny import RECALIBRATED

FOREIGN = {
    "torchvision efficientnet_b0": (lambda: torchvision.models.efficientnet_b0(), 16),
    "torchvision mobilenet_v3_small": (lambda: torchvision.models.mobilenet_v3_small(), 9),
    "torchvision regnet_y_400mf": (lambda: torchvision.models.regnet_y_400mf(), 16),
    "timm seresnet18": (lambda: timm.create_model("seresnet18"), 8),
    "timm legacy_seresnet18": (lambda: timm.create_model("legacy_seresnet18"), 8),
    "timm efficientnet_b0": (lambda: timm.create_model("efficientnet_b0"), 16),
    "timm mobilenetv3_small_050": (lambda: timm.create_model("mobilenetv3_small_050"), 9),
    "timm ese_vovnet19b_dw": (lambda: timm.create_model("ese_vovnet19b_dw"), 4),
}


def gate_sizes(module, resolution=64, channels=3):
    """Run two images; hold what is recorded of every gate against what the gate does to its input."""
    recorded, sizes = {}, {}
    module.eval()

    def check(name, inputs, output):
        factors = recorded[name][:, :, None, None]
        assert torch.allclose(inputs[0] * factors, output, atol=1e-6)
        sizes[name] = factors.shape[1]

    with recording(module, recorded.__setitem__), torch.no_grad():
        for name in gates(module):
            module.get_submodule(name).register_forward_hook(
                lambda _, inputs, output, name=name: check(name, [kept[name]], output)
            )
            module.get_submodule(name).register_forward_pre_hook(
                lambda _, inputs, name=name: kept.__setitem__(name, inputs[0].clone())
            )
        kept = {}
        module(torch.randn(2, channels, resolution, resolution))
    return sizes


@pytest.mark.parametrize("name", FOREIGN)
def test_gates_of_timm_and_torchvision_are_recorded(name):
    make, count = FOREIGN[name]
    sizes = gate_sizes(make())
    assert len(sizes) == count


@pytest.mark.parametrize("name", RECALIBRATED)
def test_ours_are_recorded_in_every_place(name):
    network = cw.network(RECALIBRATED[name])
    module = cw.build(network, seed=0)
    assert gate_sizes(module, network.resolution, network.channels).keys() == {
        path for path, part in module.named_modules() if type(part).__name__ == "Gated"
    }


def test_squeeze_and_excitation_put_into_a_foreign_module_is_recorded():
    module = cw.recalibrate(torchvision.models.resnet18(), 16, resolution=64)
    assert len(gate_sizes(module)) == 8


@pytest.mark.parametrize("module", [torchvision.models.resnet18(), cw.build(cw.network("resnet18"), device="meta")])
def test_no_gates_no_excitations(module):
    with pytest.raises(NetworkError, match="no squeeze-and-excitation"):
        gates(module)


def test_hooks_are_removed_afterwards():
    module = cw.build(cw.network("cifar_seresnet8"), seed=0)
    with recording(module, lambda *_: None):
        assert any(part._forward_hooks for part in module.modules())
    assert not any(part._forward_hooks for part in module.modules())


def test_statistics_are_those_of_the_excitations_seen():
    module = cw.build(cw.network("cifar_seresnet8"), classes=3, seed=0)
    labels = torch.arange(40) % 3
    images = torch.randn(40, 3, 32, 32, generator=torch.Generator().manual_seed(0)) + labels[:, None, None, None]
    seen = {}
    with recording(module, lambda name, factors: seen.setdefault(name, []).append(factors)), torch.no_grad():
        module.eval()(images)
    batches = zip(images.split(16), labels.split(16), strict=True)
    found = measure_excitations(module, batches, ("a", "b", "c"))
    assert (found.images, len(found.blocks)) == (40, 3)
    for block in found.blocks:
        factors = seen[block.name][0].double()
        for label in range(3):
            own = factors[labels == label]
            assert torch.allclose(block.mean[label], own.mean(0), atol=1e-6)
            assert torch.allclose(block.std[label], own.std(0, correction=0), atol=1e-5)
        total = factors.var(0, correction=0)
        assert torch.allclose(block.overall, factors.mean(0), atol=1e-6)
        assert torch.allclose(block.between + block.within, total, rtol=1e-3, atol=1e-9)
        assert block.variation == pytest.approx(float(total.sqrt().mean()), rel=1e-3)
        within = sum(
            float(factors[labels == label].var(0, correction=0).sum()) * sum(labels == label) for label in range(3)
        )
        expected = 1 - (within / (40 - 3)) / (float(total.sum()) * 40 / (40 - 1))
        assert block.specificity == pytest.approx(max(0.0, float(expected)), abs=1e-4)


def block_of(mean, std, counts):
    mean, std = (torch.tensor(values, dtype=torch.float64) for values in (mean, std))
    return BlockExcitation("gate", mean, std, torch.tensor(counts))


def test_specificity_goes_from_all_alike_to_one_class_one_gate():
    assert block_of([[0.5, 0.9], [0.5, 0.9]], [[0.1, 0.1], [0.1, 0.1]], [5, 5]).specificity == 0
    assert block_of([[0.2, 0.9], [0.8, 0.9]], [[0.0, 0.0], [0.0, 0.0]], [5, 5]).specificity == 1
    assert block_of([[0.4], [0.6]], [[0.1], [0.1]], [5, 5]).specificity == pytest.approx(0.4375)
    constant = block_of([[1.0, 1.0]], [[0.0, 0.0]], [5])
    assert (constant.specificity, constant.variation, constant.saturation()) == (0, 0, 1)


def test_what_many_classes_of_few_images_differ_by_chance_is_no_specificity():
    generator = torch.Generator().manual_seed(0)
    factors = torch.rand(300, 8, generator=generator, dtype=torch.float64)  # the same for all classes

    def specificity(each):
        some = factors.view(-1, each, 8)
        block = BlockExcitation("gate", some.mean(1), some.std(1, correction=0), torch.full((len(some),), each))
        return block.specificity

    assert specificity(3) < 0.1  # eta squared is about a third
    assert specificity(1) is None  # and here it is exactly 1


def test_a_constant_is_not_class_specific_by_rounding():
    block = block_of([[0.7], [0.7 + 1e-12]], [[0.0], [0.0]], [50, 50])
    assert block.specificity == 0
    assert block_of([[0.7], [0.7 + 1e-4]], [[0.0], [0.0]], [50, 50]).specificity == 1


def test_classes_without_images_are_neither_counted_nor_drawn():
    module = cw.build(cw.network("cifar_seresnet8"), classes=6, seed=0)
    images = torch.randn(20, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    names = [f"c{index}" for index in range(6)]
    found = measure_excitations(module, [(images, torch.tensor([1, 2, 4, 5] * 5))], names)
    assert found.counts.tolist() == [0, 5, 5, 0, 5, 5]
    some = measure_excitations(module, [(images, torch.tensor([0, 1, 2, 3] * 5))], names[:4])
    for block, other in zip(found.blocks, some.blocks, strict=True):
        assert block.mean[[0, 3]].isnan().all()
        assert block.std[[0, 3]].isnan().all()
        assert torch.equal(block.overall, other.overall)
        assert (block.spread, block.specificity) == (other.spread, other.specificity)
    shown = chosen_classes(names, counts=found.counts)
    assert shown == (1, 2, 4, 5)
    drawn = by_class(found, shown)
    low, high = drawn.panels[0].plot.layout.yaxis.range
    assert low > 0  # factors of an untrained network are close to one half
    assert high < 1
    with pytest.raises(UsageError, match="class 'c3' has no images; a figure needs 5 images of a class"):
        chosen_classes(names, ["c1", "c3"], found.counts)


@pytest.mark.parametrize("counts", [(1, 5, 4, 8), (4, 4, 4, 4), (5, 5, 5, 5)])
def test_classes_of_few_images_are_left_out_and_the_others_counted(counts: tuple[int, ...]) -> None:
    module = cw.build(cw.network("cifar_seresnet8"), classes=4, seed=0)
    labels = torch.arange(4).repeat_interleave(torch.tensor(counts))
    images = torch.randn(len(labels), 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = measure_excitations(module, [(images, labels)], [f"c{index}" for index in range(4)])
    shown = chosen_classes(found.classes, counts=found.counts)
    assert [counts[index] for index in shown] == [images for images in counts if images >= FEWEST_IMAGES]
    drawn = by_class(found, shown)
    assert [name for _, name in drawn.keys] == [f"c{index} ({counts[index]} images)" for index in shown] + [
        "all images"
    ]
    for index, images in enumerate(counts):
        named = f"c{index} ({images} image{'s' * (images > 1)})"
        assert named in drawn.caption
        assert (named in found.too_few()) is (images < FEWEST_IMAGES)
    if len(shown) < 4:
        assert found.too_few() in drawn.caption
    one = next((index for index in range(4) if index not in shown), None)
    if one is not None:
        with pytest.raises(UsageError, match=rf"class 'c{one}' has {counts[one]} images?; a figure needs 5 images"):
            chosen_classes(found.classes, [f"c{one}"], found.counts)


def test_the_figures_of_classes_have_a_key_for_every_curve():
    module = cw.build(cw.network("cifar_seresnet8"), classes=7, seed=0)
    images = torch.randn(14, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = measure_excitations(module, [(images, torch.arange(14) % 7)], [f"c{index}" for index in range(7)])
    for figure in (by_class(found, range(MOST_SHOWN)), within_class(found, (3, 1))):
        names = dict(figure.keys)
        assert len(names) == len(figure.keys)  # every colour stands for one curve
        for panel in figure.panels:
            curves = [trace for trace in panel.plot.data if trace.hovertemplate]
            assert len(curves) == len(names)
            for trace in curves:
                assert trace.hovertemplate.startswith(f"{names[trace.line.color]}:")


def test_a_module_keeps_the_mode_of_each_part():
    module = cw.build(cw.network("cifar_seresnet8"), classes=2, seed=0).train()
    module.stem.eval()
    before = [part.training for part in module.modules()]
    measure_excitations(module, [(torch.randn(2, 3, 32, 32), torch.arange(2))], ("a", "b"))
    assert [part.training for part in module.modules()] == before


def test_saturation_counts_channels_near_one():
    block = block_of([[0.89, 0.95, 1.0, 0.2]], [[0.0] * 4], [3])
    assert (block.saturation(), block.saturation(0.99), block.saturation(0.1)) == (0.5, 0.25, 1)


def test_four_classes_are_spread_over_all_unless_they_are_chosen():
    names = [f"c{index}" for index in range(10)]
    assert chosen_classes(names) == (0, 3, 6, 9)
    assert chosen_classes(names[:2]) == (0, 1)
    assert chosen_classes(names, ["c7", "c2", "c7"]) == (7, 2)
    assert chosen_classes(["food", "f", "o", "d"], "food") == (0,)
    with pytest.raises(UsageError, match="classes: name classes to draw; none is given"):
        chosen_classes(names, [])
    with pytest.raises(UsageError, match="a figure distinguishes 7 classes at most, not 8"):
        chosen_classes(names, names[:8])
    with pytest.raises(UsageError, match="no class is named 'dog'; there are c0, c1"):
        chosen_classes(names, ["dog"])


def test_no_images_no_excitations():
    with pytest.raises(UsageError, match="no images"):
        measure_excitations(cw.build(cw.network("cifar_seresnet8"), seed=0), [], ("a", "b"))


def test_a_gate_that_is_no_factor_a_channel_is_refused():
    class SEModule(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate = nn.Sigmoid()

        def forward(self, x):
            return x * self.gate(x)

    with recording(module := SEModule(), lambda *_: None), pytest.raises(NetworkError, match="not whole channels"):
        module(torch.ones(1, 2, 3, 3))


def test_the_command_prints_every_value(convwright, runs, tmp_path):
    page = tmp_path / "page.html"
    answer = convwright("explain", "excitation", runs["gated"], "--json", "--out", page, "--classes", "3, 8")
    assert answer.status == 0, answer.err
    printed = json.loads(answer.out)
    assert [block["channels"] for block in printed["blocks"]] == [8, 8, 16, 16, 32, 32]
    assert (printed["split"], printed["images"]) == ("val", 143)
    for block in printed["blocks"]:
        assert len(block["mean"]) == len(block["std"]) == 10
        assert len(block["mean"][0]) == block["channels"]
        assert 0 <= block["specificity"] <= 1
    assert re.search(r"143 val images: 3 \(\d+ images\), 8 \(\d+ images\) and all images", page.read_text())


def test_the_terminal_has_a_row_for_every_gate(convwright, runs):
    out = convwright("explain", "excitation", runs["gated"], "--split", "test", "--threshold", "0.5").out
    assert sum(line.startswith("stage") for line in out.splitlines()) == 6
    assert "359 test images" in out
    assert "Near one: 0.5 or more" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--classes", "3,eight"), "no class is named 'eight'"),
        (("--split", "train"), "--split: must be 'val' or 'test', not 'train'"),
        (("--threshold", "2"), "--threshold: must be above 0 and 1 or less, not 2"),
        (("--drop", "--by", "layers"), "--by: must be 'stages' or 'blocks', not 'layers'"),
        (("--save", "1", "--out", "new"), "--save requires --drop"),
        (("--drop", "--save", "1"), "--out RUN"),
        (("--out", "new"), "named .html"),
        (("--out", "nowhere/new.html"), "there is no folder nowhere"),
        (("--by", "blocks"), "--by requires --drop"),
        (("--classes", " , "), "none is given"),
        (("--classes", "0,1,2,3,4,5,6,7"), "--classes: a figure distinguishes 7 classes at most"),
    ],
)
def test_wrong_options_are_errors_of_one_line(convwright, runs, arguments, message):
    answer = convwright("explain", "excitation", runs["gated"], *arguments)
    assert answer.status == 2
    assert message in answer.message


def test_a_run_without_excitations_is_an_error_of_one_line(convwright, runs):
    answer = convwright("explain", "excitation", runs["dense"])
    assert answer.status == 2
    assert "no squeeze-and-excitation" in answer.message
