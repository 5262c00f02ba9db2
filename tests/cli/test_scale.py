"""scale plan: a table, JSON, a file; and wrong use."""

import json

import pytest
from PIL import Image

import convwright as cw
from convwright.errors import UsageError


def test_a_budget_becomes_a_network(convwright, tmp_path):
    answer = convwright(
        "scale", "plan", "efficientnet_b0", "--budget", "macs<=1.5G, memory<=60MB", "--out", tmp_path / "net.json"
    )
    assert answer.status == 0, answer.err
    assert "memory binds" in answer.out
    assert "resolution alone" in answer.out
    first = answer.out.splitlines()[0]
    written = cw.Network.from_json_text((tmp_path / "net.json").read_text())
    assert written == cw.network(first)
    assert convwright("show", tmp_path / "net.json").status == 0


def test_the_head_is_counted_with_the_classes_of_the_data(convwright, tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for index in range(3):
            Image.new("L", (8, 8), 40 * index).save(tmp_path / "images" / name / f"{index}.png")
    (tmp_path / "list.csv").write_text("path,label\n" + "".join(f"images/a/{i}.png,{i % 2}\n" for i in range(3)))
    options = ("scale", "plan", "efficientnet_b0", "--budget", "params<=2M", "--json")

    def planned(*more):
        answer = convwright(*options, *more)
        assert answer.status == 0, answer.err
        return json.loads(answer.out)["chosen"]

    for data, classes in ((tmp_path / "images", 3), (tmp_path / "list.csv", 2), ("digits", 10)):
        assert planned("--data", data) == planned("--classes", classes)
    assert planned("--classes", 10)["network"] != planned()["network"], "ImageNet's classes take a part of the budget"
    both = convwright(*options, "--data", "digits", "--classes", 3)
    assert (both.status, "--classes: cannot be combined with --data" in both.message) == (2, True)
    absent = convwright(*options, "--data", tmp_path / "absent")
    assert absent.status == 2
    assert absent.message.startswith("convwright: --data: ")


def test_json_has_every_figure(convwright):
    answer = convwright("scale", "plan", "mobilenet_v2", "--budget", "params<=7M", "--json")
    plan = json.loads(answer.out)
    assert plan["budget"] == {"params": 7e6}
    assert plan["chosen"]["params"] <= 7e6
    assert plan["chosen"]["binding"] == ["params"]
    assert len(plan["alternatives"]) == 3, "resolution alone changes no parameters, so nothing of it binds"


def test_phi_and_factors(convwright):
    by_phi = json.loads(convwright("scale", "plan", "efficientnet_b0", "--phi", "1", "--json").out)
    assert by_phi["chosen"]["requested"]["depth"] == 1.2
    assert by_phi["chosen"]["asked"] == by_phi["chosen"]["requested"], "as version 0.1 named it"
    assert "rounding changed depth" in by_phi["chosen"]["rounding"]
    factors = convwright("scale", "plan", "resnet50", "--width", "2")
    assert factors.status == 0
    assert "resnet50|scale:w=2" in factors.out


@pytest.mark.parametrize("engine_limit", ["latency<=1000ms"])
def test_latency_is_measured(convwright, engine_limit, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    answer = convwright(
        "scale", "plan", "cifar_resnet8", "--budget", f"{engine_limit}, params<=200K", "--no-compare", "--threads", "1"
    )
    assert answer.status == 0, answer.err
    assert "latency" in answer.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("efficientnet_b0",), "give one of budget, phi, or factors"),
        (("efficientnet_b0", "--phi", "1", "--budget", "macs<=1G"), "give one of"),
        (("efficientnet_b0", "--budget", "memory<=50"), "a unit is missing"),
        (("efficientnet_b0", "--budget", "macs<=1K"), "the smallest network"),
        (
            ("efficientnet_b0", "--budget", "latency<=3ms", "--engine", "abacus"),
            "--engine: must be 'torch' or ",
        ),
        (("efficientnet_b0", "--phi", "1", "--engine", "openvino"), "--engine: openvino measures latency"),
        (("efficientnet_b0", "--budget", "macs<=1G", "--engine", "openvino"), "--engine: openvino measures latency"),
        (("efficientnet_b0", "--phi", "1", "--classes", "0"), "--classes: must be a whole number, 1 to 1000000, not 0"),
        (("nonsense", "--phi", "1"), "unknown network 'nonsense'"),
        (("efficientnet_b0", "--phi", "1", "--alpha", "0.5"), "--alpha: must be 1 to 100, not 0.5"),
        (("efficientnet_b0", "--phi", "90"), "factor"),
    ],
)
def test_wrong_use(convwright, arguments, message):
    answer = convwright("scale", "plan", *arguments)
    assert answer.status == 2
    assert message in answer.message


def test_python_and_command_give_the_same_plan(convwright, tmp_path):
    plan = cw.plan("efficientnet_b0", "macs<=150M, params<=3M", classes=12, out=tmp_path / "here.json")
    options = ("--budget", "macs<=150M, params<=3M", "--classes", 12)
    command = ("scale", "plan", "efficientnet_b0", *options)
    assert json.loads(convwright(*command, "--json").out) == plan.to_dict()
    answer = convwright(*command, "--out", tmp_path / "there.json")
    assert answer.out.partition("network: ")[0] == f"{plan}\n".partition("network: ")[0]
    assert (tmp_path / "there.json").read_text() == (tmp_path / "here.json").read_text()
    assert cw.Network.from_json_text((tmp_path / "here.json").read_text()) == plan.network


def test_a_plan_has_fields_and_shows_itself():
    plan = cw.plan("mobilenet_v2", {"params": 7e6}, compare=False)
    assert plan.cost.params <= 7e6
    assert plan.binding == ("params",)
    assert plan.alternatives == ()
    assert "<table>" in plan._repr_html_()
    assert str(plan).splitlines()[0] == plan.network.name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"budget": {"speed": 3}}, "budget: unknown resource 'speed'"),
        ({"budget": {"macs": -1}}, "budget: macs must be above 0"),
        ({"budget": {"macs": 1e6, "MACs": 3e6}}, "budget: macs has two limits"),
        ({"budget": {}}, "budget: must have one limit or more"),
        ({"budget": "memory<=50"}, "budget: a unit is missing"),
        ({"phi": "large"}, "phi: must be a number, -100 to 100, not 'large'"),
        ({"phi": 1, "engine": "abacus"}, "engine: must be 'torch' or"),
        ({"phi": 1, "out": "/nowhere/net.json"}, "out: /nowhere/net.json: there is no folder /nowhere"),
        ({}, "give one of budget, phi, or factors"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(UsageError) as error:
        cw.plan("efficientnet_b0", **arguments)
    assert message in str(error.value)
