"""scale plan: a table, JSON, a file; and wrong use."""

import json

import pytest

import convwright as cw


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


def test_json_has_every_figure(convwright):
    answer = convwright("scale", "plan", "mobilenet_v2", "--budget", "params<=7M", "--json")
    told = json.loads(answer.out)
    assert told["budget"] == {"params": 7e6}
    assert told["chosen"]["params"] <= 7e6
    assert told["chosen"]["binding"] == ["params"]
    assert len(told["alternatives"]) == 3, "resolution alone changes no parameters, so nothing of it binds"


def test_phi_and_factors(convwright):
    by_phi = json.loads(convwright("scale", "plan", "efficientnet_b0", "--phi", "1", "--json").out)
    assert by_phi["chosen"]["asked"]["depth"] == 1.2
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
    ("arguments", "told"),
    [
        (("efficientnet_b0",), "give one of --budget, --phi, or factors"),
        (("efficientnet_b0", "--phi", "1", "--budget", "macs<=1G"), "give one of"),
        (("efficientnet_b0", "--budget", "macs<=50"), "a unit is missing"),
        (("efficientnet_b0", "--budget", "macs<=1K"), "the smallest network"),
        (("efficientnet_b0", "--budget", "latency<=3ms", "--engine", "abacus"), "no engine 'abacus'"),
        (("efficientnet_b0", "--phi", "1", "--engine", "openvino"), "--engine openvino measures latency"),
        (("efficientnet_b0", "--budget", "macs<=1G", "--engine", "openvino"), "--engine openvino measures latency"),
        (("nonsense", "--phi", "1"), "unknown network 'nonsense'"),
        (("efficientnet_b0", "--phi", "1", "--alpha", "0.5"), "a number from 1 to 100"),
        (("efficientnet_b0", "--phi", "90"), "factor"),
    ],
)
def test_wrong_use(convwright, arguments, told):
    answer = convwright("scale", "plan", *arguments)
    assert answer.status == 2
    assert told in answer.message
