"""A file of weights gets the normalisation and the framing of its publisher, or a warning says what was assumed."""

import warnings
from collections import Counter
from functools import cache

import pytest
import torch
from safetensors.torch import save_file

import convwright as cw
from convwright.arch.registry import names
from convwright.errors import ConvwrightError, ConvwrightWarning
from convwright.weights import preprocessing
from convwright.weights.preprocessing import HALF, IMAGENET, LITE, of_file, torchvision_weights
from convwright.weights.published import TIMM, find

timm = pytest.importorskip("timm")

NETWORKS = [name for _, name in names()]
FROM_TENSORFLOW = {
    **{f"efficientnet_b{index}": f"tf_efficientnet_b{index}" for index in range(8)},
    **{f"efficientnet_v2_{size}": f"tf_efficientnetv2_{size}" for size in "sml"},
}
PLAIN = {"efficientnet_lite0": "efficientnet_lite0"}


@cache
def names_in(peer: str) -> tuple[str, ...]:
    with torch.device("meta"):
        return tuple(timm.create_model(peer, pretrained=False).state_dict())


def tags(peer: str) -> list[str]:
    return [tag for tag in timm.list_pretrained(f"{peer}.*") if tag.partition(".")[0] == peer]


def peers(name: str) -> list[str]:
    """timm's networks whose files have our network's shapes."""
    found = [TIMM.get(name, name), FROM_TENSORFLOW.get(name), PLAIN.get(name)]
    return [peer for peer in found if peer and timm.is_model(peer)]


PUBLISHED = [(name, peer) for name in NETWORKS for peer in peers(name) if tags(peer)]


def said(mean: tuple[float, ...]) -> str:
    return "need ImageNet's mean" if mean == IMAGENET[0] else "need a mean and standard deviation of 0.5"


def test_most_networks_are_compared() -> None:
    assert len({name for name, _ in PUBLISHED}) >= 45


@pytest.mark.parametrize(("name", "peer"), PUBLISHED)
def test_a_file_of_timm_gets_its_normalisation_or_a_warning(name: str, peer: str) -> None:
    prepared = of_file(cw.network(name), names_in(peer))
    doubts = " ".join(prepared.doubts)
    for tag in tags(peer):
        config = timm.get_pretrained_cfg(tag)
        assert (prepared.mean, prepared.std) == (config.mean, config.std) or said(config.mean) in doubts, tag


@pytest.mark.parametrize("name", sorted({name for name, _ in PUBLISHED}))
def test_what_is_assumed_is_the_most_common(name: str) -> None:
    prepared = of_file(cw.network(name), names_in(peers(name)[0]))
    counts = Counter(timm.get_pretrained_cfg(tag).mean for peer in peers(name) for tag in tags(peer))
    (most, count), *others = counts.most_common()
    if others and others[0][1] == count:
        most = timm.get_pretrained_cfg(peers(name)[0]).mean
    assert prepared.mean == most


def test_no_warning_without_weights_that_need_it() -> None:
    for name in {name for name, _ in PUBLISHED}:
        tensors = names_in(peers(name)[0])
        doubts = " ".join(of_file(cw.network(name), tensors).doubts)
        means = {timm.get_pretrained_cfg(tag).mean for peer in peers(name) for tag in tags(peer)}
        known = torchvision_weights(name) if preprocessing.scheme_of(tensors) == "other" else None
        if len(means | ({IMAGENET[0]} if known and name not in ("googlenet", "inception_v3") else set())) == 1:
            assert "assumed that" not in doubts, name


@pytest.mark.parametrize("name", [name for name in NETWORKS if torchvision_weights(name) is not None])
def test_a_file_of_torchvision_gets_its_publisher_s_preprocessing(name: str) -> None:
    with torch.device("meta"):
        import torchvision

        options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        theirs = torchvision.models.get_model(name, weights=None, **options).state_dict()
    transforms = next(iter(torchvision_weights(name))).transforms()
    prepared = of_file(cw.network(name), theirs)
    with_input_layer = name in ("googlenet", "inception_v3")  # torchvision's normalises again
    assert (prepared.mean, prepared.std) == (
        HALF if with_input_layer else (tuple(transforms.mean), tuple(transforms.std))
    )
    assert prepared.framing.crop == transforms.crop_size[0] / transforms.resize_size[0]
    assert prepared.framing.interpolation == transforms.interpolation.value
    assert bool(prepared.doubts) == (name in ("resnet34", "inception_v3"))


ONLY_TIMM = [(name, peer) for name, peer in PUBLISHED if torchvision_weights(name) is None and "_lite" not in name]


@pytest.mark.parametrize(("name", "peer"), ONLY_TIMM)
def test_the_framing_of_networks_that_only_timm_has(name: str, peer: str) -> None:
    framing = of_file(cw.network(name), names_in(peer)).framing
    configs = [timm.get_pretrained_cfg(tag) for tag in tags(peer)]
    assert any(abs(framing.crop - config.crop_pct) < 0.01 for config in configs)
    assert framing.interpolation in {config.interpolation for config in configs}


def test_efficientnet_lite_by_its_publisher() -> None:
    network = cw.network("efficientnet_lite1")
    assert of_file(network, ["_conv_stem.weight", "_fc.weight"]).mean == LITE[0]
    assert of_file(network, ["conv_stem.weight", "classifier.weight"]).mean == HALF[0]


@pytest.mark.parametrize(
    ("name", "peer", "doubtful"),
    [
        *((f"efficientnet_b{index}", f"tf_efficientnet_b{index}", index < 8) for index in (0, 4, 5, 7, 8)),
        ("efficientnet_v2_s", "tf_efficientnetv2_s", True),
        ("efficientnet_v2_b0", "tf_efficientnetv2_b0", False),
        ("efficientnet_lite0", "tf_efficientnet_lite0", True),
        ("efficientnet_lite1", "tf_efficientnet_lite1", False),
        ("mobilenet_v1", "mobilenetv1_100", False),
    ],
)
def test_padding_that_names_do_not_show_is_doubted(name: str, peer: str, doubtful: bool) -> None:
    doubts = of_file(cw.network(name), names_in(peer)).doubts
    assert any("TensorFlow's padding" in doubt for doubt in doubts) == doubtful


def test_names_of_efficientnet_pytorch_are_refused_where_it_pads_otherwise() -> None:
    with pytest.raises(
        ConvwrightError, match=r"names of EfficientNet-PyTorch.*TensorFlow's padding.*efficientnet_b0 has"
    ):
        of_file(cw.network("efficientnet_b0"), ["_conv_stem.weight", "_fc.weight"])
    assert of_file(cw.network("efficientnet_b8"), ["_conv_stem.weight", "_fc.weight"]).mean == HALF[0]


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        *(("timm:tf_efficientnet_b0", "efficientnet_b0"), ("timm:tf_efficientnet_b5", "efficientnet_b5")),
        *(("timm:efficientnet_b5", "efficientnet_b5"), ("timm:efficientnet_lite0", "efficientnet_lite0")),
        ("timm:tf_efficientnetv2_s", "efficientnet_v2_s"),
    ],
)
def test_networks_of_timm_that_compute_otherwise_are_refused_before_the_download(
    spec: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = timm.create_model

    def offline(name: str, pretrained: bool = False) -> torch.nn.Module:
        assert not pretrained
        return create(name, pretrained=False)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(ConvwrightError, match=rf"timm's {spec[5:]} has .* padding .*, but {name} has .* padding"):
        find(spec, cw.network(name))


@pytest.mark.parametrize("name", sorted({*TIMM, "resnet50", "seresnet50", "inception_v4", "efficientnet_b0"}))
def test_the_networks_of_timm_that_are_chosen_compute_as_ours(name: str) -> None:
    from convwright.weights.published import _check_timm

    _check_timm(timm, TIMM.get(name, name), cw.network(name))


def test_a_file_is_read_with_its_normalisation_and_its_warning(tmp_path) -> None:
    torch.manual_seed(0)
    save_file(timm.create_model("mobilenetv1_100").state_dict(), tmp_path / "timm.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = find(str(tmp_path / "timm.safetensors"), cw.network("mobilenet_v1"))
    assert (found.mean, found.std) == HALF
    save_file(cw.build(cw.network("cifar_resnet8")).state_dict(), tmp_path / "own.safetensors")
    with pytest.warns(ConvwrightWarning, match=r"own\.safetensors: assumed .* ImageNet's .* give the run's directory"):
        find(str(tmp_path / "own.safetensors"), cw.network("cifar_resnet8"))


@pytest.mark.parametrize(
    ("name", "doubtful"), [("resnet18", False), ("densenet121", False), ("resnet50", True), ("senet154", True)]
)
def test_networks_of_pytorchcv_that_share_names_are_doubted(name: str, doubtful: bool) -> None:
    doubts = of_file(cw.network(name), ["features.init_block.conv.conv.weight", "output.weight"]).doubts
    assert any("names of pytorchcv" in doubt for doubt in doubts) == doubtful
