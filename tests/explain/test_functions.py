"""The functions of `cw.explain` from Python: what they take, what their results hold, and what they refuse."""

import json

import numpy as np
import pytest
from PIL import Image

import convwright as cw
from convwright.data.opened import Data
from convwright.errors import ArgumentError, UsageError
from convwright.explain.bound import RunExplanations
from convwright.training.run import Run


def as_json(result):
    return json.loads(result.to_json())


def check_display(result, *words):
    """Check that a result shows itself as text, in a notebook and as a Plotly figure without names of colours."""
    text, html = str(result), result._repr_html_()
    for word in words:
        assert word in text
        assert word in html
    assert repr(result).startswith(f"{type(result).__name__}(")
    assert "<table>" in html
    assert "var(--" not in html
    assert "var(--" not in result.figure().to_json()
    return html


@pytest.fixture(scope="module")
def maps(runs):
    return cw.explain.cam([runs["gated"], runs["dense"]], count=3)


def test_maps_of_networks_side_by_side(maps, runs):
    gated, dense = maps.networks
    assert (gated.title, dense.title) == ("gated", "dense")
    assert gated.maps.maps.shape == dense.maps.maps.shape == (3, 8, 8)
    assert maps.images.source == "test images of digits"
    assert gated.labels == [maps.networks[0].network.predictor.classes[target] for target in gated.maps.targets]
    html = check_display(maps, "test-", "gated", "dense")
    assert html.count("<img") == 3 * 3
    assert maps.sheet().width > 3 * 224
    assert [laid.label for laid in maps.overlays(1)] == dense.labels
    assert as_json(maps) == {"images": "test images of digits", "networks": as_json(maps)["networks"]}


def test_saved_maps_are_those_of_the_command(maps, runs, tmp_path, convwright):
    saved = maps.save(tmp_path / "python")
    assert maps.folder is None
    answer = convwright("explain", "cam", runs["gated"], runs["dense"], "--count", 3, "--json", "--out", tmp_path / "x")
    printed = json.loads(answer.out.replace(str(tmp_path / "x"), str(tmp_path / "python")))
    assert as_json(saved) == printed == json.loads((tmp_path / "python" / "cams.json").read_text())
    assert np.array_equal(np.load(tmp_path / "python" / "dense" / "raw.npy"), maps.networks[1].maps.raw)
    assert str(saved).endswith(f"figure, overlays and maps: {tmp_path / 'python'}")
    with pytest.raises(ArgumentError, match=r"^folder: .* is not empty"):
        maps.save(tmp_path / "python")


def test_images_of_any_form(runs, tmp_path):
    data = cw.open_data("digits")
    pixels = data.test.images[0].numpy().transpose(1, 2, 0)
    Image.fromarray(pixels[..., 0]).save(tmp_path / "digit.png")
    run = Run.open(runs["gated"])
    forms = [tmp_path / "digit.png", str(tmp_path), [str(tmp_path / "digit.png")], pixels, [pixels],
             Image.open(tmp_path / "digit.png")]  # fmt: skip
    found = [cw.explain.cam(run, form) for form in forms]
    for one in found:
        assert np.allclose(one.networks[0].maps.raw, found[0].networks[0].maps.raw, atol=1e-5)
    assert found[0].images.names == (str(tmp_path / "digit.png"),)
    named = [cw.explain.cam(run, form, count=2) for form in ("digits", Data("digits"))]
    named.append(cw.explain.cam(run, data="digits", count=2))
    for one in named:
        assert one.images.truths == ("0", "1")
        assert np.array_equal(one.networks[0].maps.raw, named[0].networks[0].maps.raw)
    split = cw.explain.cam(run, data.test, count=2)
    assert split.images.truths == ("0", "1")
    assert np.array_equal(split.networks[0].maps.raw, named[0].networks[0].maps.raw)


def test_images_that_cannot_be_read_are_warned_about_and_left_out(runs, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"bad")
    Image.new("L", (8, 8)).save(tmp_path / "good.png")
    with pytest.warns(UserWarning, match=r"cannot read .*bad\.png"):
        found = cw.explain.cam(runs["gated"], [tmp_path / "bad.png", tmp_path / "good.png"])
    assert found.images.names == (str(tmp_path / "good.png"),)
    (problem,) = found.images.problems
    assert "bad.png" in problem


def test_a_class_by_name_or_number(runs):
    images = cw.open_data("digits").test
    for target in ("7", 7, np.int64(7), ["7", 7]):
        assert cw.explain.cam(runs["gated"], images, count=2, target=target).networks[0].labels == ["7", "7"]


def test_faithfulness_of_the_maps_of_some_networks(maps, runs, convwright):
    both = cw.explain.faithfulness(None, maps, steps=3)
    one = cw.explain.faithfulness(runs["dense"], maps, steps=3)
    assert list(both.estimates) == ["gated", "dense"]
    assert list(one.estimates) == ["dense"]
    assert one.estimates["dense"] == both.estimates["dense"]
    assert one.networks[0].scores.maps.deletion.shape == (3, 4)
    assert both.differences["dense"]["deletion"].images == 3
    assert one.differences == {}
    check_display(both, "deletion beyond random", "dense")
    answer = convwright("explain", "faithfulness", runs["gated"], runs["dense"], "--count", 3, "--steps", 3, "--json")
    assert as_json(both) == json.loads(answer.out)
    assert str(both.maps).count("random map") > 1, "maps with scores show them too"
    with pytest.raises(ArgumentError, match="run: there are no maps of elsewhere; the maps are of gated, dense"):
        cw.explain.faithfulness("elsewhere", maps)


def test_reuse_and_pruning(runs, tmp_path, convwright):
    found = cw.explain.reuse(runs["dense"])
    assert [block.name for block in found.dense_blocks] == ["dense1", "dense2", "dense3"]
    assert len(found.connections) == 18
    check_display(found, "dense1 (relative)", "18 dense connections")
    assert as_json(found) == json.loads(convwright("explain", "reuse", runs["dense"], "--json").out)
    cut = cw.explain.prune(runs["dense"], [0.2], draws=1)
    assert [step.cut for step in cut.steps] == [0, 4]
    assert [len(step.random) for step in cut.steps] == [0, 1]
    check_display(cut, "4 of 18", "validation images")
    printed = json.loads(convwright("explain", "prune", runs["dense"], "0.2", "--draws", 1, "--json").out)
    assert as_json(cut) == printed
    both = json.loads(convwright("explain", "reuse", runs["dense"], "--prune", "0.2", "--draws", 1, "--json").out)
    assert both == as_json(found) | printed
    found.save_csv(tmp_path / "reuse.csv")
    assert len((tmp_path / "reuse.csv").read_text().splitlines()) == 19
    with pytest.raises(ArgumentError, match=r"path: .* there is no folder"):
        found.save_csv(tmp_path / "nowhere" / "reuse.csv")


def test_excitations_and_dropping(runs, tmp_path, convwright):
    found = cw.explain.excitations(runs["gated"], classes=["3", "8"], threshold=0.5)
    assert len(found.gates) == 6
    assert found.shown == (3, 8)
    check_display(found, "stage3.block2", "class-specific")
    command = ("explain", "excitation", runs["gated"], "--classes", "3,8", "--threshold", "0.5", "--json")
    assert as_json(found) == json.loads(convwright(*command).out)
    steps = found.drop()
    assert [step.without for step in steps.steps] == ["-", "stage3", "stage2", "stage1"]
    check_display(steps, "SE dropped from", "stage3")
    assert as_json(steps) == json.loads(convwright("explain", "drop", runs["gated"], "--json").out)
    assert json.loads(convwright(*command, "--drop").out) == as_json(found) | as_json(steps)
    lean = steps.save(tmp_path / "lean", step=1)
    assert isinstance(lean, cw.Run)
    assert lean.network == steps.steps[1].network
    assert Run.open(tmp_path / "lean").summary.val_accuracy == steps.steps[1].accuracy
    for folder, step, reason in (("new", 4, "step: must be a step from 1 to 3, not 4"), ("lean", 1, "folder: .*a run")):
        with pytest.raises(ArgumentError, match=reason):
            steps.save(tmp_path / folder, step=step)
    assert not (tmp_path / "new").exists()
    with pytest.raises(ArgumentError, match="validation images"):
        cw.explain.drop(runs["gated"], split="test").save(tmp_path / "new", step=1)


def test_functions_of_one_run(runs, maps):
    bound = RunExplanations(Run.open(runs["dense"]))
    assert as_json(bound.reuse()) == as_json(cw.explain.reuse(runs["dense"]))
    assert bound.cam(count=1).networks[0].title == "dense"
    assert list(bound.faithfulness(maps, steps=2).estimates) == ["dense"]
    assert [step.share for step in bound.prune([0.5], draws=0).steps] == [0, 0.5]
    gated = RunExplanations(Run.open(runs["gated"]))
    assert gated.excitations(split="test").found.split == "test"
    assert len(gated.drop(by="blocks").steps) == 7


def test_pages_need_no_network_and_name_what_they_show(runs, tmp_path):
    cw.explain.reuse(runs["dense"]).save_html(tmp_path / "reuse.html")
    page = (tmp_path / "reuse.html").read_text()
    assert "<h1>Feature reuse in densenet_bc_l16_k8" in page
    assert 'src="http' not in page


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run: cw.explain.cam(run, count=0), "count: must be a whole number, 1 to 1000000, not 0"),
        (lambda run: cw.explain.cam(run, method="score"), "method: must be 'cam' or 'grad-cam' or 'grad-cam"),
        (lambda run: cw.explain.cam([]), "networks: give a run directory"),
        (lambda run: cw.explain.cam("resnet18"), "networks: resnet18 is a network, .* weights 'pretrained'"),
        (lambda run: cw.explain.cam(run, "digits", data="digits"), "data: images and data exclude each other"),
        (
            lambda run: cw.explain.cam(run, "nowhere/*.png"),
            "images: no images found: nowhere/.*: no image file",
        ),
        (lambda run: cw.explain.cam(run, 5), "images: "),
        (lambda run: cw.explain.cam(run, layer="stage9"), "gated: there is no layer 'stage9'"),
        (lambda run: cw.explain.cam(run, target=True), "target: "),
        (lambda run: cw.explain.prune(run, [1.5]), "shares: must be 0 to 1, not 1.5"),
        (lambda run: cw.explain.prune(run, []), "shares: .* none is given|no dense blocks"),
        (lambda run: cw.explain.prune(run, [0.1], draws=-1), "draws: must be a whole number, 0 to 1000000"),
        (lambda run: cw.explain.reuse(run), "has no dense blocks"),
        (lambda run: cw.explain.excitations(run, split="train"), "split: must be 'val' or 'test', not 'train'"),
        (lambda run: cw.explain.excitations(run, threshold=0), "threshold: must be above 0 and 1 or less, not 0"),
        (lambda run: cw.explain.excitations(run, classes=["dog"]), "no class is named 'dog'"),
        (lambda run: cw.explain.drop(run, by="layers"), "by: must be 'stages' or 'blocks', not 'layers'"),
        (lambda run: cw.explain.prune(run, "0.1"), "shares: must be a number, 0 to 1, not '0.1'"),
        (lambda run: cw.explain.prune(run, None), "shares: must be a number, 0 to 1, not None"),
        (lambda run: cw.explain.excitations(run, classes=3), "classes: must be text, not 3"),
        (lambda run: cw.explain.excitations(run, classes=[]), "classes: name classes to draw; none is given"),
        (lambda run: cw.explain.drop("absent"), "absent: no such run directory"),
        (lambda run: cw.explain.drop(run, device="moon"), "device: no device 'moon'"),
    ],
)
def test_wrong_arguments(call, message, runs):
    with pytest.raises(UsageError, match=message):
        call(runs["gated"])


def test_a_single_value_stands_for_a_list_of_one(runs):
    one, several = (cw.explain.excitations(runs["gated"], classes=given).to_dict() for given in ("3", ["3"]))
    assert one == several
    one, several = (cw.explain.prune(runs["dense"], given, draws=0).to_dict() for given in (0.1, [0.1]))
    assert one == several
    assert cw.open_run(runs["dense"]).explain.prune(0.1, draws=0).to_dict() == one
    assert cw.explain.reuse(runs["dense"]).prune(0.1, draws=0).to_dict() == one


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda results, path: results["drop"].save(path, step="a"), "step: must be a whole number, not 'a'"),
        (lambda results, path: results["drop"].save(path, step=True), "step: must be a whole number, not True"),
        (lambda results, path: results["drop"].save(path, step=1.5), "step: must be a whole number, not 1.5"),
        (lambda results, path: results["drop"].save(None, step=1), "folder: must be text, not None"),
        (lambda results, path: results["reuse"].prune(["a"]), "shares: must be a number, 0 to 1, not 'a'"),
        (lambda results, path: results["reuse"].prune([0.1], draws="a"), "draws: must be a whole number, 0 to 1000000"),
        (lambda results, path: results["reuse"].save_csv(5), "path: must be text, not 5"),
        (lambda results, path: results["excitations"].drop("layers"), "by: must be 'stages' or 'blocks'"),
        (lambda results, path: results["maps"].overlays("a"), "network: must be a whole number, not 'a'"),
        (lambda results, path: results["maps"].overlays(2), "network: must be a position from 0 to 1, not 2"),
        (lambda results, path: results["maps"].save(5), "folder: must be text, not 5"),
    ],
)
def test_wrong_arguments_of_methods(call, message, results, tmp_path):
    with pytest.raises(ArgumentError, match=message):
        call(results, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.fixture(scope="module")
def results(runs, maps):
    return {
        "maps": maps,
        "drop": cw.explain.drop(runs["gated"]),
        "reuse": cw.explain.reuse(runs["dense"]),
        "excitations": cw.explain.excitations(runs["gated"]),
    }


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("weights", ["pretrained", "timm", "torchvision", "file.pth"])
def test_weights_without_a_network_that_takes_them_are_refused(named, several, weights, runs):
    run = str(runs["gated"]) if named else cw.load(runs["gated"])
    with pytest.raises(ArgumentError, match=r"weights: .* has weights of its own; they are for networks"):
        cw.explain.cam([run, run] if several else run, count=1, weights=weights)


@pytest.mark.parametrize("weights", ["pretrained", "timm", "file.pth"])
@pytest.mark.parametrize("function", ["load", "predict"])
def test_weights_for_a_run_are_refused(function, weights, runs):
    call = cw.load if function == "load" else lambda run, **options: cw.predict(run, "x.png", **options)
    with pytest.raises(ArgumentError, match=r"weights: .* is a run, which has weights of its own"):
        call(runs["gated"], weights=weights)


@pytest.mark.parametrize("function", ["cam", "reuse", "prune", "excitations", "drop"])
def test_a_device_on_which_a_predictor_is_not_is_refused(function, runs):
    predictor = cw.load(runs["gated"])
    call = getattr(cw.explain, function)
    options = {"shares": [0.1]} if function == "prune" else {}
    with pytest.raises(ArgumentError, match=r"device: .* is on cpu already; choose the device where it is loaded"):
        call(predictor, device="meta", **options)


@pytest.mark.parametrize("method", [None, "cam", "grad-cam"])
def test_a_constant_that_a_method_does_not_have_is_refused(method, runs):
    with pytest.raises(ArgumentError, match=r"epsilon: only grad-cam\+\+ has this constant"):
        cw.explain.activation_maps(cw.load(runs["gated"]), np.zeros((1, 8, 8, 1), np.uint8), method=method, epsilon=0)
