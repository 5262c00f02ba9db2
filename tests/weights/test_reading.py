"""Checkpoints of others: read as data, never run; and what cannot be read or does not fit is reported."""

import os
import pickle
from pathlib import Path
from random import Random

import pytest
import torch
from safetensors.torch import save_file

import convwright as cw
from convwright.errors import ConvwrightError, NotFiniteError, UsageError
from convwright.weights import load_matched, load_weights, read_tensors, save_weights
from convwright.weights.foreign import match_weights
from convwright.weights.module_transfer import transfer_weights
from convwright.weights.published import find

SMALL = "cifar_resnet8|scale:w=0.25"


class Harmful:
    def __reduce__(self):
        return (os.mkdir, ("harm-was-done",))


def test_a_file_that_would_run_code_is_refused_and_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": torch.zeros(1), "extra": Harmful()}, "bad.pth")
    Path("worse.pth").write_bytes(pickle.dumps(Harmful()))
    for name in ("bad.pth", "worse.pth"):
        with pytest.raises(ConvwrightError, match=f"{name}: refused, since reading it would run code"):
            read_tensors(Path(name))
    assert not Path("harm-was-done").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut off", b"\x80\x02}q\x00."])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_is_no_checkpoint_is_said(tmp_path, content, suffix):
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(ConvwrightError, match=f"weights{suffix}"):
        read_tensors(path)
    with pytest.raises(ConvwrightError, match="no such file"):
        read_tensors(tmp_path / "absent.pth")
    with pytest.raises(ConvwrightError, match="not a file"):
        read_tensors(tmp_path)


def test_the_content_counts_not_the_name(tmp_path):
    tensors = {"a.weight": torch.zeros(2)}
    torch.save(tensors, tmp_path / "torch.safetensors")
    save_file(tensors, tmp_path / "safe.pth")
    torch.save(tensors, tmp_path / "old.safetensors", _use_new_zipfile_serialization=False)
    for name in ("torch.safetensors", "safe.pth", "old.safetensors"):
        assert list(read_tensors(tmp_path / name)) == ["a.weight"]


def test_what_torch_says_of_a_damaged_file_is_told_in_one_sentence(tmp_path):
    torch.save({"a.weight": torch.zeros(999)}, tmp_path / "cut.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "cut.pth").read_bytes()[:700])
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(ConvwrightError, match=r"cut\.pth: not a checkpoint, or damaged: .*central directory$"):
        read_tensors(tmp_path / "cut.pth")
    with pytest.raises(ConvwrightError, match=r"text\.pth: not a checkpoint, or damaged$"):
        read_tensors(tmp_path / "text.pth")


@pytest.mark.filterwarnings("ignore:.*assumed that its images are normalised")
def test_a_file_for_a_thousand_classes_is_taken_for_imagenet_s(tmp_path):
    for classes, first in ((1000, "tench"), (7, None)):
        path = tmp_path / f"{classes}.safetensors"
        save_file(cw.build(cw.network(f"{SMALL}|classes:{classes}")).state_dict(), path)
        found = find(str(path), cw.network(SMALL)).classes
        assert (found[0] if found else None) == first


def test_wrappers_around_the_weights_are_looked_through(tmp_path):
    inner = {"module.a.weight": torch.zeros(2), "module.b.weight": torch.ones(3)}
    torch.save(
        {"epoch": 3, "state_dict": inner, "state_dict_ema": inner | {"module.b.weight": torch.full((3,), 2.0)}},
        tmp_path / "x.pt",
    )
    read = read_tensors(tmp_path / "x.pt")
    assert list(read) == ["a.weight", "b.weight"]
    assert read["b.weight"].tolist() == [2, 2, 2], "averaged weights come first"
    torch.save({"epoch": 3}, tmp_path / "none.pt")
    with pytest.raises(ConvwrightError, match="contains no weights"):
        read_tensors(tmp_path / "none.pt")


def test_weights_that_do_not_fit_are_told_with_their_shapes():
    network = cw.network("resnet18")
    theirs = cw.build(cw.network("resnet34"), device="meta").state_dict()
    theirs = {f"other.{name}": tensor for name, tensor in theirs.items()}
    with pytest.raises(
        ConvwrightError,
        match=r"file\.pth: the weights do not fit resnet18: its other\..*, a normalisation of 64 maps, is not part",
    ):
        match_weights(network, theirs, "file.pth")
    with pytest.raises(ConvwrightError, match=r"stage\d.*, is not in it"):
        match_weights(
            cw.network("resnet34"),
            {f"other.{n}": t for n, t in cw.build(network, device="meta").state_dict().items()},
            "it",
        )


def test_our_own_files_fit_by_name(tmp_path):
    module = cw.build(cw.network(SMALL), seed=1, channels=1, classes=7)
    save_file(module.state_dict(), tmp_path / "own.safetensors")
    again = cw.build(cw.network(SMALL), seed=2, channels=1, classes=7)
    messages = load_matched(match_weights(cw.network(SMALL), read_tensors(tmp_path / "own.safetensors"), "own"), again)
    assert messages == []
    assert all(
        torch.equal(a, b) for a, b in zip(module.state_dict().values(), again.state_dict().values(), strict=True)
    )


def test_grey_images_and_other_classes_change_only_the_ends():
    colour = cw.build(cw.network(SMALL), seed=1).eval()
    grey = cw.build(cw.network(SMALL), seed=2, channels=1, classes=3).eval()
    messages = load_matched(match_weights(cw.network(SMALL), colour.state_dict(), "it"), grey)
    assert [line.split()[1] for line in messages] == ["first", "classifier"]
    image = torch.rand(1, 1, 32, 32)
    features = [torch.nn.Sequential(*list(module.children())[:-1]) for module in (colour, grey)]
    with torch.no_grad():
        torch.testing.assert_close(features[0](image.expand(1, 3, 32, 32)), features[1](image))


@pytest.mark.parametrize(
    ("spec", "network", "message"),
    [
        ("absent.pth", "resnet18", "no weights 'absent.pth'"),
        ("torchvision:V9", "resnet18", "torchvision has no weights 'V9' for resnet18; it has IMAGENET1K_V1"),
        ("torchvision", "cifar_resnet20", "torchvision has no network named cifar_resnet20"),
        ("timm:nonsense", "resnet18", "timm has no network named nonsense"),
    ],
)
def test_weights_that_do_not_exist(spec, network, message):
    with pytest.raises(UsageError, match=message):
        find(spec, cw.network(network))


def test_offline_is_said_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # where nothing listens
    with pytest.raises(ConvwrightError, match="could not be downloaded from https://") as message:
        find("pretrained", cw.network("resnet18"))
    assert "\n" not in str(message.value)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_that_are_not_finite_are_refused(tmp_path, bad, suffix):
    tensors = {"a.weight": torch.zeros(2, 2), "a.bias": torch.tensor([0.0, bad]), "a.count": torch.tensor(3)}
    path = tmp_path / f"weights{suffix}"
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    with pytest.raises(NotFiniteError, match=r"weights\.\w+: a\.bias has NaN or infinite values"):
        read_tensors(path)


def test_small_floats_are_read_and_exotic_tensors_refused(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"a.weight": torch.ones(2).to(torch.float8_e4m3fn)}, path)
    assert read_tensors(path)["a.weight"].float().tolist() == [1, 1]
    for exotic in (torch.eye(2).to_sparse(), torch.ones(2, dtype=torch.complex64)):
        torch.save({"a.weight": exotic}, path)
        with pytest.raises(ConvwrightError, match=r"weights\.pth: (a\.weight is a sparse|refused|not a checkpoint)"):
            read_tensors(path)


def mutated(content: bytes, random: Random) -> bytes:
    """Change some bytes, cut the end off, or repeat or drop a stretch."""
    start, end = sorted(random.randrange(len(content) + 1) for _ in range(2))
    match random.randrange(4):
        case 0:
            changed = bytearray(content)
            for _ in range(random.randint(1, 8)):
                changed[random.randrange(len(content))] = random.randrange(256)
            return bytes(changed)
        case 1:
            return content[:end]
        case 2:
            return content[:start] + content[end:]
        case _:
            return content[:end] + content[start:]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["pth", "old pth", "safetensors", "header"])
def test_damaged_files_are_refused_or_read_and_never_fail_otherwise(tmp_path, kind):
    tensors = {"a.weight": torch.rand(2, 3), "a.bias": torch.rand(2), "a.num_batches_tracked": torch.tensor(3)}
    whole, path = tmp_path / "whole", tmp_path / "weights"
    if kind in ("safetensors", "header"):
        save_file(tensors, whole)
    else:
        torch.save({"state_dict": tensors, "epoch": 3}, whole, _use_new_zipfile_serialization=kind == "pth")
    content = whole.read_bytes()
    spared = content[200:] if kind == "header" else b""  # most damage to the values of tensors changes nothing else
    messages = []
    for seed in range(200):
        path.write_bytes(mutated(content[:200] if spared else content, Random(seed)) + spared)
        try:
            read_tensors(path)
        except ConvwrightError as error:
            messages.append(str(error))
    assert len(messages) > 100
    assert all(message.startswith(f"{path}: ") and message.isprintable() for message in messages)


def test_averages_of_weights_and_counts_of_operations_are_read(tmp_path):
    plain = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3))
    average = torch.optim.swa_utils.AveragedModel(plain)
    counted = plain.state_dict() | {"total_ops": torch.zeros(1), "0.total_params": torch.zeros(1)}
    wrapped = {f"module.{name}": tensor for name, tensor in counted.items()}
    for stored in (
        {"model_ema": average.state_dict(), "model": {}},
        {"model_ema": {"decay": 0.99}, "model": wrapped},
        {"model_ema": {"state_dict": wrapped}, "model": {"a.weight": torch.zeros(1)}},
        counted,
        {"state_dict_ema": {}, "state_dict": counted},
    ):
        torch.save(stored, tmp_path / "weights.pth")
        assert read_tensors(tmp_path / "weights.pth").keys() == plain.state_dict().keys()


def test_values_beyond_32_bits_and_negative_variances_are_refused(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"a.weight": torch.tensor([1e300], dtype=torch.float64)}, path)
    with pytest.raises(NotFiniteError, match=r"a\.weight has values beyond the range of 32-bit floats"):
        read_tensors(path)
    torch.save({"a.running_var": torch.tensor([1.0, -0.1])}, path)
    with pytest.raises(ConvwrightError, match=r"a\.running_var has negative values"):
        read_tensors(path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_sums_over_input_channels_are_finite_or_refused(dtype):
    grey = cw.build(cw.network(SMALL), seed=2, channels=1)
    before = grey.stem.conv.weight.clone()
    tensors = dict(cw.build(cw.network(SMALL), seed=1).state_dict())
    largest = torch.full_like(tensors["stem.conv.weight"], 6e4, dtype=dtype)
    load_matched(tensors | {"stem.conv.weight": largest}, grey)
    assert torch.equal(grey.stem.conv.weight, largest.double().sum(1, keepdim=True).float())
    beyond = torch.full_like(largest, 3e38, dtype=torch.promote_types(dtype, torch.float32))
    grey.stem.conv.weight.data.copy_(before)
    with pytest.raises(NotFiniteError, match=r"stem\.conv\.weight has"):
        load_matched(tensors | {"stem.conv.weight": beyond}, grey)
    assert torch.equal(grey.stem.conv.weight, before)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x80\x02}q\x00.", None])
def test_files_that_cannot_be_used_are_wrong_use(tmp_path, content):
    path = tmp_path / "weights.pth"
    if content is None:
        torch.save({"a.weight": torch.zeros(2, dtype=torch.complex64)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(UsageError) as refused:
        read_tensors(path)
    assert refused.value.exit_status == 2


def test_files_of_another_network_are_wrong_use(tmp_path):
    save_weights(cw.build("cifar_resnet8", seed=0), tmp_path / "model.safetensors")
    with pytest.raises(UsageError, match="the weights do not fit the network") as refused:
        load_weights(cw.build("cifar_resnet14", seed=0), tmp_path / "model.safetensors")
    assert refused.value.exit_status == 2
    small, large = cw.build("cifar_resnet8", seed=0), cw.build("cifar_resnet14", seed=0)
    with pytest.raises(UsageError, match="no layer of the source fits"):
        transfer_weights(small, large, torch.zeros(1, 3, 32, 32))
