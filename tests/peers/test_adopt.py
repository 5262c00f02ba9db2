"""Checkpoints of torchvision and timm, as files: each layer of ours gets the weights of its counterpart."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import convwright as cw
from convwright.errors import ConvwrightError
from convwright.weights import read_tensors, transfer
from convwright.weights.adopt import adopt
from convwright.weights.carry import carry, executed

from .peers import COUNTERPARTS, build_peer
from .test_logits import QUICK, randomise


def numbered(module: nn.Module) -> dict[str, torch.Tensor]:
    """A state in which every layer's tensors are scalars of its number, spread to shape without memory."""
    tensors = {}
    for number, (name, tensor) in enumerate(module.state_dict().items()):
        tensors[name] = torch.tensor(float(number)).expand(tensor.shape)
    return tensors


CASES = [
    pytest.param(peer, ours, id=peer, marks=() if peer in QUICK else pytest.mark.slow)
    for peer, ours in COUNTERPARTS.items()
    if "resnetv2" not in peer
]


@pytest.mark.parametrize(("peer", "ours"), CASES)
def test_names_and_shapes_lead_to_the_layers_that_execution_leads_to(peer: str, ours: str) -> None:
    network = cw.network(ours)
    with torch.device("meta"):
        theirs = build_peer(peer)
    state = numbered(theirs)
    expected = paired(theirs, cw.build(network, device="meta"), network.resolution)
    for arranged in (state, dict(sorted(state.items()))):
        adopted = adopt(network, arranged, "it")
        assert adopted.keys() >= {f"{name}.weight" for name in expected}
        for name, counterpart in expected.items():
            assert adopted[f"{name}.weight"].flatten()[0] == state[f"{counterpart}.weight"].flatten()[0], name


def paired(theirs: nn.Module, ours: nn.Module, resolution: int) -> dict[str, str]:
    """Our layers and theirs, as `carry` pairs them by running both."""
    from convwright.weights.carry import _signature

    example = torch.zeros(1, 3, resolution, resolution, device="meta")
    free: dict[object, list[str]] = {}
    for name, layer in executed(theirs, example):
        free.setdefault(_signature(layer), []).append(name)
    return {name: free[_signature(layer)].pop(0) for name, layer in executed(ours, example)}


@pytest.mark.parametrize("peer", ["torchvision/resnet18", "timm/seresnet18", "torchvision/googlenet"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_of_the_peers(peer: str, suffix: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    ours = COUNTERPARTS[peer]
    theirs = build_peer(peer)
    state = theirs.state_dict()
    if peer == "torchvision/googlenet":  # published with its auxiliary classifiers
        state |= {"aux1.conv.conv.weight": torch.zeros(128, 512, 1, 1), "aux1.fc2.bias": torch.zeros(1000)}
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, path)
    else:
        save_file(state, path)
    module = cw.build(cw.network(ours)).eval()
    assert transfer(adopt(module.network, read_tensors(path), "it"), module) == []
    carried = cw.build(cw.network(ours)).eval()
    images = torch.randn(1, 3, 64, 64)
    carry(theirs, carried, images)
    with torch.no_grad():
        assert torch.equal(module(images), carried(images))


@pytest.mark.parametrize(
    "depth", [50, pytest.param(101, marks=pytest.mark.slow), pytest.param(152, marks=pytest.mark.slow)]
)
def test_logits_where_the_peer_s_shortcut_runs_before_its_body(depth: int) -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    theirs = build_peer(f"timm/resnetv2_{depth}").double()
    randomise(theirs, images)
    state = theirs.state_dict()
    with torch.no_grad():
        expected = theirs(images)
    for arranged in (state, dict(sorted(state.items()))):
        module = cw.build(cw.network(f"preact_resnet{depth}")).double().eval()
        assert transfer(adopt(module.network, arranged, "it"), module) == []
        with torch.no_grad():
            assert (module(images) - expected).abs().max() < 1e-10 * expected.abs().max()


@pytest.mark.parametrize("part", ["layer3.0.bn1.weight", "layer2.1.bn2.running_var", "layer1.0.bn1.bias"])
def test_a_layer_that_lacks_a_part_is_told(part: str) -> None:
    with torch.device("meta"):
        state = build_peer("torchvision/resnet18").state_dict()
    del state[part]
    with pytest.raises(ConvwrightError, match=rf"it: the weights do not fit resnet18: {part} is missing$"):
        adopt(cw.network("resnet18"), state, "it")
