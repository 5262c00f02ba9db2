"""Checkpoints of torchvision and timm, as files: each layer of ours gets the weights of its counterpart."""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import convwright as cw
from convwright.errors import ConvwrightError
from convwright.weights import load_matched, read_tensors
from convwright.weights.foreign import match_weights
from convwright.weights.module_transfer import executed, transfer_weights
from convwright.weights.reading import Tensors

from .peers import COUNTERPARTS, build_peer
from .test_logits import QUICK, randomise


def numbered(module: nn.Module) -> Tensors:
    """A state in which every layer's tensors are scalars of its number, spread to shape without memory."""
    tensors = {}
    for number, (name, tensor) in enumerate(module.state_dict().items()):
        kind = torch.int64 if name.endswith("num_batches_tracked") else torch.float64
        tensors[name] = torch.tensor(number, dtype=kind).expand(tensor.shape)
    return tensors


def numbers(tensors: Tensors) -> dict[str, float]:
    """The number that each of `numbered`'s tensors holds."""
    return {name: tensor[(0,) * tensor.ndim].item() for name, tensor in tensors.items()}


def shuffled(state: Tensors, seed: int) -> Tensors:
    names = list(state)
    Random(seed).shuffle(names)
    return {name: state[name] for name in names}


def resaved(state: Tensors) -> Tensors:
    """A state as it is in a file that was read with safetensors and written again: by type, then by name."""
    return dict(sorted(state.items(), key=lambda item: (item[1].is_floating_point(), item[0])))


@cache
def state_and_pairs(peer: str) -> tuple[Tensors, dict[str, str]]:
    """A peer's numbered state, and by the names of our layers those of the peer's, as running both pairs them."""
    network = cw.network(COUNTERPARTS[peer])
    with torch.device("meta"):
        theirs = build_peer(peer)
    return numbered(theirs), paired(theirs, cw.build(network, device="meta"), network.resolution)


def assert_exact(matched: Tensors, peer: str) -> None:
    state, expected = state_and_pairs(peer)
    found, of = numbers(matched), numbers(state)
    assert found.keys() >= {f"{name}.weight" for name in expected}
    for name, number in found.items():
        layer, _, part = name.rpartition(".")
        assert number == of[f"{expected[layer]}.{part}"], name


PEERS = [peer for peer in COUNTERPARTS if "resnetv2" not in peer]  # these run shortcuts first


@pytest.mark.parametrize("peer", PEERS)
def test_any_order_of_keys_leads_to_the_layers_that_execution_leads_to(peer: str) -> None:
    network = cw.network(COUNTERPARTS[peer])
    state, _ = state_and_pairs(peer)
    orders = [shuffled(state, seed=len(peer))]
    if peer in QUICK:
        orders += [state, resaved(state)]
    for arranged in orders:
        assert_exact(match_weights(network, arranged, "it"), peer)


def spelt_as_before(name: str) -> str:
    """A DenseNet's name as torchvision's published files have it."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", name)


def as_hugging_face(name: str) -> str:
    """Rename a layer of torchvision's ResNets as transformers does."""
    if name.startswith("fc."):
        return name.replace("fc.", "classifier.1.")
    for ours, theirs in (("conv1.", "embedder.convolution."), ("bn1.", "embedder.normalization.")):
        if name.startswith(ours):
            return "resnet.embedder." + name.replace(ours, theirs)
    name = re.sub(
        r"^layer(\d)\.(\d+)\.", lambda found: f"resnet.encoder.stages.{int(found[1]) - 1}.layers.{found[2]}.", name
    )
    name = name.replace("downsample.0.", "shortcut.convolution.").replace("downsample.1.", "shortcut.normalization.")
    name = re.sub(r"\bconv(\d)\.", lambda found: f"layer.{int(found[1]) - 1}.convolution.", name)
    return re.sub(r"\bbn(\d)\.", lambda found: f"layer.{int(found[1]) - 1}.normalization.", name)


def as_pytorchcv(name: str) -> str:
    """Rename a layer of torchvision's ResNets as pytorchcv does."""
    if name.startswith("fc."):
        return name.replace("fc.", "output.")
    if name.startswith(("conv1.", "bn1.")):
        return "features.init_block.conv." + name.replace("conv1.", "conv.").replace("bn1.", "bn.")
    name = re.sub(r"^layer(\d)\.(\d+)\.", lambda found: f"features.stage{found[1]}.unit{int(found[2]) + 1}.", name)
    name = name.replace("downsample.0.", "identity_conv.conv.").replace("downsample.1.", "identity_conv.bn.")
    return re.sub(r"\b(conv|bn)(\d)\.", r"body.conv\2.\1.", name)


def densenet_as_pytorchcv(name: str) -> str:
    """Rename a layer of torchvision's DenseNets as pytorchcv does, which has transitions at the start of stages."""
    name = re.sub(r"^features\.(conv|norm)0\.", r"features.init_block.\1.", name)
    name = re.sub(r"denseblock(\d)\.denselayer(\d+)\.(conv|norm)(\d)", r"stage\1.unit\2.conv\4.\3", name)
    name = re.sub(r"transition(\d)", lambda found: "stage{0}.trans{0}.conv".format(int(found[1]) + 1), name)
    name = name.replace("norm5", "post_activ.norm").replace("classifier", "output")
    return re.sub(r"\bnorm\b", "bn", name)


RENAMED = {
    "transformers": ("torchvision/resnet50", as_hugging_face),
    "transformers, without bottlenecks": ("torchvision/resnet18", as_hugging_face),
    "pytorchcv": ("torchvision/resnet50", as_pytorchcv),
    "pytorchcv, without bottlenecks": ("torchvision/resnet34", as_pytorchcv),
    "pytorchcv, densely connected": ("torchvision/densenet121", densenet_as_pytorchcv),
    "old keys": ("torchvision/densenet121", spelt_as_before),
    "old keys, wider": ("torchvision/densenet161", spelt_as_before),
    "a prefix": ("torchvision/resnet50", "backbone.{}".format),
    "two prefixes": ("torchvision/inception_v3", "net.trunk.{}".format),
    "a prefix of a densenet": ("timm/densenet264d", "net.{}".format),
    "words of others": ("torchvision/resnet50", lambda name: name.replace("downsample", "shortcut")),
    "stages": ("timm/seresnet18", lambda name: name.replace("layer", "stage")),
}


@pytest.mark.parametrize(("peer", "rename"), RENAMED.values(), ids=RENAMED)
@pytest.mark.parametrize("seed", range(3))
def test_other_schemes_of_names(peer: str, rename: Callable[[str], str], seed: int) -> None:
    state = shuffled({rename(name): tensor for name, tensor in state_and_pairs(peer)[0].items()}, seed)
    assert_exact(match_weights(cw.network(COUNTERPARTS[peer]), state, "it"), peer)


@pytest.mark.parametrize("name", ["resnet50", "densenet121", "preact_resnet50", "inception_v3", "efficientnet_b0"])
@pytest.mark.parametrize("prefix", ["", "net."])
def test_our_own_names_in_any_order(name: str, prefix: str) -> None:
    network = cw.network(name)
    state = numbered(cw.build(network, device="meta"))
    matched = numbers(
        match_weights(network, shuffled({prefix + name: tensor for name, tensor in state.items()}, 1), "it")
    )
    expected = numbers(state)
    assert matched.items() <= expected.items()
    assert {name for name in expected if not name.endswith("num_batches_tracked")} <= matched.keys()


def garbled(names: list[str], random: Random) -> dict[str, str]:
    """Rename layers at random: a part of a path everywhere, below one parent, or in one name; return the new names."""
    victim = random.choice(names).split(".")[:-1]
    depth = random.randrange(len(victim))
    old, start = victim[depth], victim[:depth]
    words = ["part", "alpha", "zeta", "a1", "z9", f"new_{old}", f"{old}_x"]
    if not old.isdigit():  # a block of another number is another block
        words.append(re.sub(r"\d", "", old) + "77")
    word = random.choice(words)
    scope = random.choice(["everywhere", "below", "one"])

    def rename(name: str) -> str:
        parts = name.split(".")
        if scope == "one":
            return ".".join([*parts[:depth], word, *parts[depth + 1 :]]) if parts[:-1] == victim else name
        if scope == "below":
            return (
                ".".join([*parts[:depth], word, *parts[depth + 1 :]]) if parts[: depth + 1] == [*start, old] else name
            )
        return ".".join(word if part == old else part for part in parts[:-1]) + f".{parts[-1]}"

    return {name: rename(name) for name in names}


@pytest.mark.parametrize(
    "peer",
    [
        *("torchvision/resnet18", "torchvision/resnet50", "torchvision/vgg13_bn", "torchvision/mobilenet_v2"),
        *("timm/seresnet18", "timm/efficientnet_b0", "torchvision/googlenet", "torchvision/densenet121"),
        *("timm/mobilenetv1_100", "torchvision/vgg11"),
    ],
)
def test_garbled_names_are_refused_or_do_no_harm(peer: str) -> None:
    state, _ = state_and_pairs(peer)
    network = cw.network(COUNTERPARTS[peer])
    exact = 0
    for seed in range(12):
        names = garbled(list(state), Random(seed))
        if len(set(names.values())) < len(names):
            continue
        try:
            matched = match_weights(network, {names[name]: tensor for name, tensor in state.items()}, "it")
        except ConvwrightError:
            continue
        assert_exact(matched, peer)
        exact += 1
    assert exact >= 1, "every renamed file was refused, also those whose names still give the order"


MISLEADING = {
    "shortcuts numbered before their body": (
        *("torchvision/resnet50", r"downsample\.0", "conv0"),
        r"the names of its layers layer1\.0\.conv0 and layer1\.0\.bn1 say that the former runs first",
    ),
    "shortcuts numbered as in Keras": (
        "torchvision/resnet50",
        r"(?<=\.)(conv|bn)(\d)\b|downsample\.([01])",
        lambda found: f"{found[2]}_{found[1]}" if found[1] else ("0_conv", "0_bn")[int(found[3])],
        r"the names of its layers layer1\.0\.0_bn and layer1\.0\.1_bn say that the former runs first",
    ),
    "a norm numbered after the others of its block": (
        *("torchvision/resnet18", r"layer1\.1\.bn1", "layer1.1.bn9"),
        r"its layer1\.1\.bn2 matches a position at which other blocks have a layer named bn1",
    ),
    "a last norm called the first": (
        *("timm/resnetv2_50", r"^norm\.", "bn1."),
        r"the names of its layers bn1 and .* say that the former runs first",
    ),
    "stages in another order": (
        *("torchvision/resnet18", r"^layer2", "layer5"),
        r"the names of its layers layer[34]\..* and layer5\..* say that the former runs first",
    ),
    "norms without numbers": (
        *("torchvision/resnet18", r"bn([12])", lambda found: {"1": "norm_in", "2": "norm_out"}[found[1]]),
        r"and .* have the same shape, and their names do not say which runs first",
    ),
}


@pytest.mark.parametrize(("peer", "old", "new", "message"), MISLEADING.values(), ids=MISLEADING)
def test_misleading_names_are_refused(peer: str, old: str, new: str, message: str) -> None:
    with torch.device("meta"):
        state = {re.sub(old, new, name): tensor for name, tensor in build_peer(peer).state_dict().items()}
    with pytest.raises(ConvwrightError, match=f"it: the weights do not fit {COUNTERPARTS[peer]}: .*({message})"):
        match_weights(cw.network(COUNTERPARTS[peer]), state, "it")


def paired(theirs: nn.Module, ours: nn.Module, resolution: int) -> dict[str, str]:
    """Our layers and theirs, as `transfer_weights` pairs them by running both."""
    from convwright.weights.module_transfer import _signature

    example = torch.zeros(1, 3, resolution, resolution, device="meta")
    free: dict[object, list[str]] = {}
    for name, layer in executed(theirs, example):
        free.setdefault(_signature(layer), []).append(name)
    return {name: free[_signature(layer)].pop(0) for name, layer in executed(ours, example)}


@pytest.mark.parametrize(
    "peer", ["torchvision/resnet18", "timm/seresnet18", "torchvision/googlenet", "torchvision/densenet121"]
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors", "-resaved.pth"])
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
    if suffix == "-resaved.pth":
        torch.save(load_file(path), path := tmp_path / "again.pth")
    module = cw.build(cw.network(ours)).eval()
    assert load_matched(match_weights(module.network, read_tensors(path), "it"), module) == []
    carried = cw.build(cw.network(ours)).eval()
    images = torch.randn(1, 3, 64, 64)
    transfer_weights(theirs, carried, images)
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
    for arranged in (state, resaved(state), shuffled(state, 0)):
        module = cw.build(cw.network(f"preact_resnet{depth}")).double().eval()
        assert load_matched(match_weights(module.network, arranged, "it"), module) == []
        with torch.no_grad():
            assert (module(images) - expected).abs().max() < 1e-10 * expected.abs().max()


@pytest.mark.parametrize("part", ["layer3.0.bn1.weight", "layer2.1.bn2.running_var", "layer1.0.bn1.bias"])
def test_a_layer_that_lacks_a_part_is_told(part: str) -> None:
    with torch.device("meta"):
        state = build_peer("torchvision/resnet18").state_dict()
    del state[part]
    with pytest.raises(ConvwrightError, match=rf"it: the weights do not fit resnet18: {part} is missing$"):
        match_weights(cw.network("resnet18"), state, "it")


@pytest.mark.parametrize(
    "part", ["weight_mask", "weight_orig", "lora_A", "weight_g", "weight_scale", "parametrizations.weight.original0"]
)
def test_parts_that_a_network_cannot_hold_are_refused(part: str) -> None:
    state = state_and_pairs("torchvision/resnet18")[0] | {"layer1.0.conv1." + part: torch.zeros(1)}
    with pytest.raises(ConvwrightError, match=r"layer1\.0\.conv1\..* is no weight, bias or statistic of a layer"):
        match_weights(cw.network("resnet18"), state, "it")


@pytest.mark.parametrize("named", ["torchvision", "convwright"])
def test_weights_of_whole_numbers_are_refused(named: str) -> None:
    network = cw.network("resnet18")
    module = cw.build(network, device="meta")
    state = state_and_pairs("torchvision/resnet18")[0] if named == "torchvision" else numbered(module)
    for part in ("weight", "bias", "running_mean", "running_var"):
        name = next(name for name in state if name.endswith(part))
        with pytest.raises(ConvwrightError, match=f"{name} holds whole numbers"):
            match_weights(network, state | {name: state[name].to(torch.int8)}, "it")


@pytest.mark.parametrize("name", ["bn1.weight", "layer2.0.bn2.running_var", "fc.bias"])
@pytest.mark.parametrize("shape", [(), (3,), (64, 2)])
def test_a_part_of_another_shape_is_named(name: str, shape: tuple[int, ...]) -> None:
    state = state_and_pairs("torchvision/resnet18")[0] | {name: torch.zeros(shape)}
    with pytest.raises(ConvwrightError, match=rf"it: the weights do not fit resnet18: its {name} is \(.*\), not \("):
        match_weights(cw.network("resnet18"), state, "it")


@pytest.mark.parametrize("name", ["", "weight", "n_averaged", ".weight", "num_batches_tracked"])
def test_a_tensor_outside_layers_is_named(name: str) -> None:
    state = state_and_pairs("torchvision/resnet18")[0] | {name: torch.tensor(3)}
    message = name.strip(".") or "a tensor without a name"
    with pytest.raises(ConvwrightError, match=rf"it: the weights do not fit resnet18: (its )?{message} "):
        match_weights(cw.network("resnet18"), state, "it")


@pytest.mark.parametrize("shape", [(), (10,), (10, 64, 1, 1)])
def test_a_classifier_of_another_shape_under_our_names_is_named(shape: tuple[int, ...]) -> None:
    network = cw.network("cifar_resnet8")
    state = numbered(cw.build(network, device="meta")) | {"head.linear.weight": torch.zeros(shape)}
    with pytest.raises(ConvwrightError, match=r"it: .* head\.linear\.weight is \(.*\), not \(10, 64\)"):
        match_weights(network, state, "it")


def test_our_own_names_without_counters() -> None:
    network = cw.network("resnet18")
    state = numbered(cw.build(network, device="meta"))
    few = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    assert numbers(match_weights(network, few, "it")) == numbers(few)


def test_networks_of_the_senet_authors_are_not_taken_for_others() -> None:
    state = state_and_pairs("timm/legacy_seresnet50")[0]
    assert match_weights(cw.network("seresnet50_v1"), state, "it")
    with pytest.raises(ConvwrightError, match="the network is seresnet50_v1"):
        match_weights(cw.network("seresnet50"), state, "it")
