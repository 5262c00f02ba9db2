"""`convwright show`: tables, JSON, drawings, and networks that cannot be shown."""

import json
import xml.etree.ElementTree as ET

import pytest

import convwright as cw
from convwright.cli.show import show
from convwright.errors import ArgumentError
from convwright.options import options_of

STAGES = ["stem", "stage1", "stage2", "stage3", "stage4", "head"]


def test_the_table_has_blocks_and_cost_of_stages(convwright):
    done = convwright("show", "resnet50_v1")
    assert done.status == 0
    rows = {line.split()[0]: line for line in done.out.splitlines() if line.strip()}
    assert rows.keys() >= {*STAGES, "total"}
    assert "3 × Bottleneck(width=64, stride_in=1x1)" in rows["stage1"]
    assert "56 × 56 × 256" in rows["stage1"]
    assert "25.6 M" in rows["total"]
    assert "3.86 G" in rows["total"]
    for text in ("He et al.", "ImageNet top-1 error 24.8, top-5 7.48", "multiply-adds", "102 MB", "Element-wise"):
        assert text in done.out


def test_json_has_the_figures_of_cost(convwright):
    shown = json.loads(convwright("show", "resnet50|se:16", "--json").out)
    network = cw.network("resnet50|se:16")
    cost = cw.cost(network)
    assert shown["name"] == "resnet50|se:16"
    assert shown["resolution"] == 224
    assert (shown["params"], shown["macs"]) == (cost.params, cost.macs)
    assert shown["weight_bytes"] == 4 * cost.params
    assert shown["peak_activation_bytes"] == cost.peak_bytes()
    assert [stage["name"] for stage in shown["stages"]] == STAGES
    assert cw.Network.from_json(shown["network"]) == network
    for key in ("params", "macs", "activations", "elementwise"):
        assert sum(stage[key] for stage in shown["stages"]) == shown[key] == getattr(cost, key)
    assert max(stage["peak"] for stage in shown["stages"]) == cost.peak
    for before, after in zip(shown["stages"], shown["stages"][1:], strict=False):
        assert before["output"] == after["input"]


def test_python_and_the_command_agree(convwright):
    described = cw.describe("cifar_seresnet20", resolution=48, classes=7, channels=1, layers=True)
    options = ["--resolution", 48, "--classes", 7, "--channels", 1, "--layers"]
    assert convwright("show", "cifar_seresnet20", *options).out == f"{described}\n"
    printed = convwright("show", "cifar_seresnet20", *options, "--json").out
    assert printed == described.to_json(indent=1) + "\n"
    assert {option.name for option in options_of(cw.describe)} == {
        parameter.name for parameter in show.params if parameter.name != "as_json"
    }


def test_a_description_has_tables_and_a_drawing_in_a_notebook(tmp_path):
    described = cw.describe("cifar_resnet8", diagram=tmp_path / "drawing.svg")
    html = described._repr_html_()
    for text in ('<td class="text">stage3</td>', "55.6 k", "<svg", "197 kB"):
        assert text in html
    assert "<svg" not in str(described)
    assert cw.network("cifar_resnet8")._repr_html_().count("<svg") == 1
    assert (tmp_path / "drawing.svg").read_text(encoding="utf-8") == str(described.network.draw())


def test_a_drawing_shows_and_saves_itself(tmp_path):
    drawing = cw.draw("cifar_resnet8")
    assert str(drawing) == drawing._repr_svg_() == drawing._repr_html_()
    drawing.save(tmp_path / "network.svg")
    assert ET.fromstring((tmp_path / "network.svg").read_bytes()).tag.endswith("svg")
    with pytest.raises(ArgumentError, match=r"path: .* is a folder; name a file in it"):
        drawing.save(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resolution": 0}, "resolution: must be pixels, 1 or more: .*not 0"),
        ({"layers": "yes"}, "layers: must be true or false, not 'yes'"),
        ({"diagram": "missing/network.svg"}, "diagram: missing/network.svg: there is no folder"),
    ],
)
def test_wrong_arguments_are_refused_from_python(options, message):
    with pytest.raises(ArgumentError, match=message):
        cw.describe("cifar_resnet8", **options)


def test_a_cost_shows_itself():
    cost = cw.cost("cifar_resnet8")
    assert repr(cost) == "<Cost of 'cifar_resnet8' at 32 x 32: 75.3 k parameters, 12.2 M MACs>"
    assert "stage3  8 × 8 × 64" in str(cost)
    assert '<td class="text">stage3</td>' in cost._repr_html_()
    assert cost.to_dict()["params"] == sum(stage["params"] for stage in cost.to_dict()["stages"])


def test_options_change_the_network(convwright):
    options = ["--resolution", 64, "--classes", 7, "--channels", 1]
    shown = json.loads(convwright("show", "resnet18", *options, "--json").out)
    expected = cw.cost(cw.network("resnet18"), 64, classes=7, channels=1)
    assert (shown["resolution"], shown["params"], shown["macs"]) == (64, expected.params, expected.macs)
    assert (shown["classes"], shown["channels"]) == (7, 1)


def test_layers_add_a_row_each(convwright):
    costs = cw.cost(cw.network("cifar_resnet20"))
    shown = json.loads(convwright("show", "cifar_resnet20", "--layers", "--json").out)
    assert [layer["path"] for layer in shown["layers"]] == [layer.path for layer in costs.layers]
    table = convwright("show", "cifar_resnet20", "--layers").out
    assert all(layer.path in table for layer in costs.layers)
    assert "conv 3×3, 32, /2" in table


@pytest.mark.parametrize("name", ["efficientnet_b7", "densenet264", "densenet_bc_l190_k40|se:16", "seresnet152_v1"])
@pytest.mark.parametrize("columns", [80, 160])
def test_tables_fit_the_terminal_and_cut_nothing(convwright, monkeypatch, name, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    done = convwright("show", name)
    assert max(map(len, done.out.splitlines())) <= columns
    assert "…" not in done.out
    assert "\033" not in done.out


def test_a_terminal_gets_bold_titles_and_no_color_means_none(convwright, monkeypatch):
    monkeypatch.setattr("convwright.display.table.sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\033[1m" in convwright("show", "resnet18").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\033" not in convwright("show", "resnet18").out


def test_files_and_runs_stand_in_the_place_of_names(convwright, tmp_path):
    network = cw.network("resnet18|se:16")
    (tmp_path / "network.json").write_text(network.to_json_text(), encoding="utf-8")
    expected = cw.cost(cw.scale(network, width=1.5)).params
    for place in (tmp_path / "network.json", tmp_path):
        assert json.loads(convwright("show", f"{place}|scale:w=1.5", "--json").out)["params"] == expected


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("resnt50", "the nearest are resnet50"),
        ("resnet50|sq:16", "unknown operator 'sq'"),
        ("resnet50|scale:d=x", "malformed operator 'scale:d=x'; write scale:d="),
        ("resnet50|", "unknown operator"),
        ("", "names no network"),
        ("densenet_l101_k12", "nearest depth"),
        ("nowhere.json", "nowhere.json cannot be read: No such file"),
        ("densenet121|resolution:8", "a resolution of 8 is too small"),
    ],
)
def test_an_expression_that_names_no_network_is_refused_in_one_line(convwright, expression, reason):
    done = convwright("show", expression)
    assert (done.status, done.out) == (2, "")
    assert len(done.err.splitlines()) == 1
    assert reason in done.message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not readable JSON"),
        (b"{", "not readable JSON"),
        (b"\xff\xfe", "not readable JSON"),
        (b"[" * 100_000, "not readable JSON"),
        (b"[]", "expected a Network"),
        (b'{"a": 1}', "unknown type None"),
        (b'{"type": "Network", "name": "x"}', "lacks its field"),
    ],
)
def test_a_file_without_a_network_is_refused_by_name(convwright, tmp_path, content, reason):
    path = tmp_path / "some.json"
    path.write_bytes(content)
    done = convwright("show", path)
    assert (done.status, done.out) == (2, "")
    assert str(path) in done.message
    assert reason in done.message


@pytest.mark.parametrize(("right", "wrong"), [('"out": 64', '"out": "64"'), ('"repeats": 2', '"repeats": 2.5')])
def test_values_of_a_wrong_type_are_refused(convwright, tmp_path, right, wrong):
    path = tmp_path / "some.json"
    text = cw.network("resnet18").to_json_text()
    assert right in text
    path.write_text(text.replace(right, wrong), encoding="utf-8")
    done = convwright("show", path)
    assert done.status == 2
    assert str(path) in done.message


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--resolution", 1], "too small"),
        (["--resolution", 0], "--resolution: must be pixels, 1 or more"),
        (["--classes", -1], "--classes: must be a whole number, 1 to 1000000, not -1"),
        (["--classes", "x"], "--classes: must be a whole number, 1 to 1000000, not 'x'"),
        (["--json", "--diagram", "-"], "cannot both be printed"),
    ],
)
def test_impossible_options_are_refused(convwright, options, reason):
    done = convwright("show", "densenet121", *options)
    assert (done.status, done.out) == (2, "")
    assert reason in done.message


def test_a_drawing_goes_to_a_file_or_the_screen(convwright, tmp_path):
    path = tmp_path / "resnet18.svg"
    done = convwright("show", "resnet18", "--diagram", path)
    assert done.status == 0
    assert f"drawn in {path}" in done.out
    printed = convwright("show", "resnet18", "--diagram", "-").out
    assert printed == path.read_text(encoding="utf-8")
    assert ET.fromstring(printed).tag.endswith("svg")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("place", ["missing/resnet.svg", "file/resnet.svg", "folder"])
def test_a_drawing_that_cannot_be_written(convwright, tmp_path, place):
    (tmp_path / "file").write_text("keep")
    (tmp_path / "folder").mkdir()
    done = convwright("show", "resnet18", "--diagram", tmp_path / place)
    assert (done.status, done.out) == (2, "")
    assert "--diagram" in done.message
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]
