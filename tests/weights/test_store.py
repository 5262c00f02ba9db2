"""Weights in files: whole or not at all, and clear words where they do not fit."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import convwright as cw
from convwright.errors import ConvwrightError
from convwright.modules import ConvNet
from convwright.weights import load_weights, save_weights


def built(expression: str = "cifar_seresnet8", seed: int = 0) -> ConvNet:
    return cw.build(cw.network(expression), seed=seed)


def test_the_round_trip_is_exact(tmp_path: Path) -> None:
    module, other = built(), built(seed=1)
    module(torch.randn(4, 3, 32, 32))  # moves running statistics
    path = tmp_path / "model.safetensors"
    save_weights(module, path)
    load_weights(other, path)
    for name, tensor in module.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"format": "pt"}
    assert list(tmp_path.iterdir()) == [path]


def test_others_may_read_weights_as_they_may_read_any_new_file(tmp_path: Path) -> None:
    save_weights(built(), tmp_path / "model.safetensors")
    (tmp_path / "new").touch()
    assert (tmp_path / "model.safetensors").stat().st_mode == (tmp_path / "new").stat().st_mode


def test_channels_last_weights_are_stored_as_any_others(tmp_path: Path) -> None:
    module, other = built().to(memory_format=torch.channels_last), built(seed=1)
    save_weights(module, tmp_path / "w")
    load_weights(other, tmp_path / "w")
    assert torch.equal(other.stem.conv.weight, module.stem.conv.weight)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConvwrightError, match=r"nothing\.safetensors: no such file of weights"):
        load_weights(built(), tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "header", "folder"])
def test_a_damaged_file(tmp_path: Path, damage: str) -> None:
    module, path = built(), tmp_path / "model.safetensors"
    save_weights(module, path)
    whole = path.read_bytes()
    match damage:
        case "empty":
            path.write_bytes(b"")
        case "cut":
            path.write_bytes(whole[:-100])
        case "text":
            path.write_text("these are not weights")
        case "header":
            path.write_bytes(b"\xff" * 8 + whole[8:])
        case "folder":
            path.unlink()
            path.mkdir()
    before = module.stem.conv.weight.clone()
    with pytest.raises(ConvwrightError, match=r"model\.safetensors: not a readable safetensors file"):
        load_weights(module, path)
    assert torch.equal(module.stem.conv.weight, before)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            "cifar_seresnet8|classes:7",
            r"head\.linear\.weight is \(7, 64\), not \(10, 64\); head\.linear\.bias is \(7,\)",
        ),
        ("cifar_resnet8", r"stage1\.add\.body\.se\.conv1\.weight is missing; .* \(and 9 more\)"),
        ("cifar_resnet8|se:16,stages=1-2", r"stage3\.add\.body\.se\.conv1\.weight is missing"),
        ("cifar_seresnet8|channels:1", r"stem\.conv\.weight is \(16, 1, 3, 3\), not \(16, 3, 3, 3\)$"),
    ],
)
def test_tensors_that_do_not_fit_are_named_and_none_is_loaded(tmp_path: Path, given: str, message: str) -> None:
    save_weights(built(given, seed=1), tmp_path / "w")
    module = built()
    before = module.stem.conv.weight.clone()
    with pytest.raises(ConvwrightError, match=f"the weights do not fit the network: .*{message}"):
        load_weights(module, tmp_path / "w")
    assert torch.equal(module.stem.conv.weight, before)


@pytest.mark.parametrize("part", ["weight", "bias", "running_mean", "running_var"])
def test_whole_numbers_under_our_names_are_refused(tmp_path: Path, part: str) -> None:
    module = built()
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    name = next(name for name in state if name.endswith(part))
    state[name] = state[name].to(torch.int8)
    save_file(state, tmp_path / "w")
    with pytest.raises(ConvwrightError, match=rf"{name} holds whole numbers \(int8\)"):
        load_weights(module, tmp_path / "w")


def test_a_failed_write_leaves_what_was_there_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.safetensors"
    save_weights(built(), path)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ConvwrightError, match=r"model\.safetensors could not be written: No space left on device"):
        save_weights(built(seed=1), path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


@pytest.mark.parametrize("where", ["nowhere/model.safetensors", "file/model.safetensors"])
def test_a_place_that_takes_no_file(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("a file, not a folder")
    with pytest.raises(ConvwrightError, match="could not be written"):
        save_weights(built(), tmp_path / where)
    assert [path.name for path in tmp_path.rglob("*")] == ["file"]
