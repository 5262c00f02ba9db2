"""`convwright show`: tables, JSON, drawings, and networks that cannot be shown."""

import json
import xml.etree.ElementTree as ET

import pytest

import convwright as cw

STAGES = ["stem", "stage1", "stage2", "stage3", "stage4", "head"]


def test_the_table_says_what_stages_hold_and_cost(convwright):
    told = convwright("show", "resnet50_v1")
    assert told.status == 0
    rows = {line.split()[0]: line for line in told.out.splitlines() if line.strip()}
    assert rows.keys() >= {*STAGES, "total"}
    assert "3 × Bottleneck(width=64, stride_in=1x1)" in rows["stage1"]
    assert "56 × 56 × 256" in rows["stage1"]
    assert "25.6 M" in rows["total"]
    assert "3.86 G" in rows["total"]
    for said in ("He et al.", "ImageNet top-1 error 24.8, top-5 7.48", "multiply-adds", "102 MB", "Element-wise"):
        assert said in told.out


def test_json_is_what_cost_counts(convwright):
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
    told = convwright("show", name)
    assert max(map(len, told.out.splitlines())) <= columns
    assert "…" not in told.out
    assert "\033" not in told.out


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
    ("expression", "said"),
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
def test_what_names_no_network_is_told_in_one_line(convwright, expression, said):
    told = convwright("show", expression)
    assert (told.status, told.out) == (2, "")
    assert len(told.err.splitlines()) == 1
    assert said in told.message


@pytest.mark.parametrize(
    ("content", "said"),
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
def test_what_is_no_network_is_told_with_its_file(convwright, tmp_path, content, said):
    path = tmp_path / "some.json"
    path.write_bytes(content)
    told = convwright("show", path)
    assert (told.status, told.out) == (2, "")
    assert str(path) in told.message
    assert said in told.message


@pytest.mark.parametrize(("right", "wrong"), [('"out": 64', '"out": "64"'), ('"repeats": 2', '"repeats": 2.5')])
def test_values_of_a_wrong_type_are_told(convwright, tmp_path, right, wrong):
    path = tmp_path / "some.json"
    text = cw.network("resnet18").to_json_text()
    assert right in text
    path.write_text(text.replace(right, wrong), encoding="utf-8")
    told = convwright("show", path)
    assert told.status == 2
    assert str(path) in told.message


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--resolution", 1], "too small"),
        (["--resolution", 0], "resolution must be 1 or more"),
        (["--classes", -1], "classes must be 1 or more"),
        (["--json", "--diagram", "-"], "cannot both be printed"),
    ],
)
def test_options_that_cannot_be(convwright, options, said):
    told = convwright("show", "densenet121", *options)
    assert (told.status, told.out) == (2, "")
    assert said in told.message


def test_a_drawing_goes_to_a_file_or_the_screen(convwright, tmp_path):
    path = tmp_path / "resnet18.svg"
    told = convwright("show", "resnet18", "--diagram", path)
    assert told.status == 0
    assert f"drawn in {path}" in told.out
    printed = convwright("show", "resnet18", "--diagram", "-").out
    assert printed == path.read_text(encoding="utf-8")
    assert ET.fromstring(printed).tag.endswith("svg")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("place", ["missing/resnet.svg", "file/resnet.svg", "folder"])
def test_a_drawing_that_cannot_be_written(convwright, tmp_path, place):
    (tmp_path / "file").write_text("keep")
    (tmp_path / "folder").mkdir()
    told = convwright("show", "resnet18", "--diagram", tmp_path / place)
    assert (told.status, told.out) == (2, "")
    assert "--diagram" in told.message
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]
