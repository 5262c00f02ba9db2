"""Weights of a network in networks made from it by `stages` and `scale`."""

import pytest
import torch

import convwright as cw
from convwright.errors import UsageError
from convwright.training.initial_weights import find_initial_weights
from convwright.weights import save_weights
from convwright.weights.matching_blocks import transfer_matching_blocks, unchanged

SMALL = ("cifar_resnet20", "cifar_seresnet14", "densenet_bc_l22_k12", "efficientnet_lite0|fit:32", "vgg11_bn|fit:32")


def weights_of(name):
    return cw.build(name, seed=1).state_dict()


@pytest.mark.parametrize("name", SMALL)
def test_a_truncated_network_computes_the_first_stages_of_the_network(name):
    network = cw.network(f"{name}|stages:1-2")
    assert unchanged(network) == cw.network(name)
    module, whole = cw.build(network, seed=2).eval(), cw.build(name, seed=1).eval()
    found = transfer_matching_blocks(network, weights_of(name), "the file")
    module.load_state_dict(module.state_dict() | {key: value for key, value in found.items() if "head" not in key})
    images = torch.rand(2, 3, *[network.resolution] * 2)
    parts, whole_parts = list(module.children())[:-1], list(whole.children())
    assert torch.equal(torch.nn.Sequential(*parts)(images), torch.nn.Sequential(*whole_parts[: len(parts)])(images))


@pytest.mark.parametrize("name", SMALL[:4])
@pytest.mark.parametrize("depth", [0.5, 1.7])
def test_scaled_depth_keeps_the_first_blocks_of_each_stage(name, depth):
    network, given = cw.network(f"{name}|scale:d={depth}"), weights_of(name)
    found = transfer_matching_blocks(network, given, "the file")
    own = cw.build(network, device="meta").state_dict()
    assert all(found[key].shape == own[key].shape for key in found)
    assert {"stem"} <= {key.partition(".")[0] for key in found}
    for stage, before in zip(network.stages, cw.network(name).stages, strict=True):
        first = stage.name if stage.repeats == 1 else f"{stage.name}.block1"
        if not name.startswith("densenet") or stage.name == "dense1":  # later ones have other channels
            assert any(key.startswith(f"{first}.") for key in found)
        kept = {key.split(".")[1] for key in found if key.startswith(f"{stage.name}.block")}
        assert not kept or len(kept) <= min(stage.repeats, before.repeats)


def test_other_widths_and_other_networks_are_refused():
    with pytest.raises(UsageError, match=r"its blocks have other shapes than those of .*; only depth can differ"):
        transfer_matching_blocks(cw.network("cifar_resnet20|scale:w=2"), weights_of("cifar_resnet20"), "the file")
    with pytest.raises(UsageError, match="do not fit cifar_resnet20"):
        transfer_matching_blocks(cw.network("cifar_resnet20|stages:1-2"), weights_of("cifar_resnet14"), "the file")


@pytest.mark.filterwarnings("ignore:.*assumed that")
def test_messages_name_what_is_new(tmp_path):
    file = tmp_path / "weights.safetensors"
    save_weights(cw.build("efficientnet_lite0|fit:32", seed=1), file)
    network = cw.network("efficientnet_lite0|fit:32|stages:1-3|classes:5")
    messages = find_initial_weights(str(file), network).load(cw.build(network, seed=0))
    assert messages == [
        "new layers, which start from random weights: head.conv, head.norm",
        "the classifier is new, for 5 classes",
    ]


@pytest.mark.filterwarnings("ignore:.*assumed that")
def test_a_run_of_a_truncated_network_repeats_and_resumes(tmp_path):
    file = tmp_path / "weights.safetensors"
    save_weights(cw.build("cifar_resnet8", seed=1), file)
    options = {"weights": file, "epochs": 0.1, "fused": False, "progress": False}
    run = cw.train(
        "digits", network="cifar_resnet8|stages:1-2", out=tmp_path / "run", **options | {"weights": str(file)}
    )
    again = cw.train(config=run.path / "config.yaml", out=tmp_path / "again", progress=False)
    assert again.weights.read_bytes() == run.weights.read_bytes()
    further = cw.prepare("digits", network="cifar_resnet8|stages:1-2", epochs=1, weights=str(run.path), progress=False)
    assert not any("new layers" in note for note in further.notes)
