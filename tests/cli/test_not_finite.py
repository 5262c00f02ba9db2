"""A network whose weights or outputs are not numbers gets no result from any command."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from convwright.checksums import NAME, Checksums

NETWORKS = {"se": "cifar_seresnet8", "dense": "densenet_bc_l16_k8"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two runs on digits, one with squeeze-and-excitation and one with dense blocks, and an image."""
    from PIL import Image
    from sklearn.datasets import load_digits

    from convwright.cli.main import main

    folder = tmp_path_factory.mktemp("trained")
    image = load_digits().images[0] * 15.9
    Image.fromarray(image.astype("uint8")).save(folder / "zero.png")
    with pytest.MonkeyPatch.context() as patch:
        for name, network in NETWORKS.items():
            arguments = ["--data", "digits", "--network", network, "--epochs", "0.2", "--out", str(folder / name)]
            patch.setattr("sys.argv", ["convwright", "train", *arguments])
            with pytest.raises(SystemExit) as ended:
                main()
            assert not ended.value.code
    return folder


def damaged(trained, folder, name, change):
    """Copy a run, change its weights, and record their checksum as if training had written them."""
    run = folder / name
    shutil.copytree(trained / name, run)
    weights = load_file(run / "model.safetensors")
    change(weights)
    save_file(weights, run / "model.safetensors", {"format": "pt"})
    (run / NAME).unlink()
    Checksums(run).record_existing()
    return run


def plant_nan(weights):
    name = [name for name in weights if name.endswith("running_var")][3]
    weights[name][0] = float("nan")


def make_outputs_infinite(weights):
    """Leave every weight finite, but the classifier's so large that the logits overflow."""
    name = [name for name, tensor in weights.items() if tensor.ndim == 2][-1]
    weights[name] = torch.full_like(weights[name], 3e38)
    for other, tensor in weights.items():
        if other.endswith("running_mean"):
            tensor.fill_(-100.0)  # so that the last maps are far from zero


COMMANDS = {
    "predict": ["predict", "RUN", "IMAGE"],
    "predict json": ["predict", "RUN", "IMAGE", "--json"],
    "predict csv": ["predict", "RUN", "IMAGE", "--csv"],
    "evaluate": ["evaluate", "RUN", "--json"],
    "evaluate tta": ["evaluate", "RUN", "--tta", "--predictions", "OUT.csv"],
    "report": ["report", "RUN", "--out", "OUT.html"],
    "cam": ["explain", "cam", "RUN", "--images", "IMAGE", "--out", "OUT"],
    "reuse": ["explain", "reuse", "RUN", "--json"],
    "excitation": ["explain", "excitation", "RUN", "--json"],
    "export": ["export", "RUN", "--out", "OUT.onnx"],
    "export torch": ["export", "RUN", "--out", "OUT.safetensors"],
    "bench": ["bench", "RUN", "--json"],
    "train": ["train", "--data", "digits", "--network", "NETWORK", "--weights", "RUN", "--out", "OUT"],
}


def check_refused(convwright, run, image, network, arguments):
    places = {"RUN": str(run), "IMAGE": str(image), "NETWORK": network}
    words = [places.get(word, word.replace("OUT", str(run.parent / "out"))) for word in arguments]
    done = convwright(*words)
    assert done.status != 0, done.out
    assert "NaN" in done.message or "not finite" in done.message, done.message
    assert '"accuracy"' not in done.out
    assert "NaN" not in done.out
    assert not list(run.parent.glob("out*"))


@pytest.mark.parametrize("command", COMMANDS)
def test_nan_in_the_weights_gives_no_result(convwright, trained, tmp_path, command):
    name = "dense" if command == "reuse" else "se"
    run = damaged(trained, tmp_path, name, plant_nan)
    check_refused(convwright, run, trained / "zero.png", NETWORKS[name], COMMANDS[command])


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in ("reuse", "train")])
def test_infinite_outputs_of_finite_weights_give_no_result(convwright, trained, tmp_path, command):
    run = damaged(trained, tmp_path, "se", make_outputs_infinite)
    check_refused(convwright, run, trained / "zero.png", NETWORKS["se"], COMMANDS[command])


def test_the_same_commands_give_results_of_undamaged_weights(convwright, trained, tmp_path):
    run = damaged(trained, tmp_path, "se", lambda weights: None)
    done = convwright("evaluate", run, "--json")
    assert done.status == 0, done.err
    assert 0 < json.loads(done.out)["accuracy"] <= 1
    assert convwright("predict", run, trained / "zero.png").status == 0


def test_a_search_in_which_every_training_diverges_has_no_best_network(convwright, tmp_path):
    study = tmp_path / "study"
    done = convwright(
        *("scale", "search", "cifar_resnet8", "--data", "digits", "--epochs", "0.1", "--seeds", "1", "--rungs", "1"),
        *("--step", "0.5", "--tolerance", "0.3", "--set", "learning_rate=1e30", "--out", study, "--json"),
    )
    assert (done.status, done.out) == (1, "")
    assert "every training diverged, so no network is best" in done.message
    assert "NaN" not in (study / "search.json").read_text()
    family = convwright("scale", "family", "--search", study)
    assert family.status == 2
    assert "all training runs of its best network diverged" in family.message
