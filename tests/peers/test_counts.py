"""The same parameters and multiply-adds as torchvision and timm, exactly."""

import json
from pathlib import Path

import pytest
import torch

import convwright as cw

from ..counting import count
from .peers import COUNTERPARTS, build_peer

FACTS = json.loads(Path(__file__).with_name("peers.json").read_text())
"""Counted by fvcore and by hooks on the peers' modules, at their native resolutions."""


@pytest.mark.parametrize("peer", FACTS)
def test_recorded_counts(peer: str) -> None:
    fact = FACTS[peer]
    network = cw.network(fact["ours"])
    cost = cw.cost(network)
    assert (network.resolution, cost.params, cost.macs) == (fact["resolution"], fact["params"], fact["macs"])


@pytest.mark.parametrize(("peer", "ours"), COUNTERPARTS.items(), ids=COUNTERPARTS)
def test_counts_of_the_installed_peer(peer: str, ours: str) -> None:
    network = cw.network(ours)
    with torch.device("meta"):
        module = build_peer(peer)
    counted = count(module, 3, network.resolution)
    cost = cw.cost(network)
    assert (cost.params, cost.macs, cost.activations) == (counted.params, counted.macs, counted.activations)
