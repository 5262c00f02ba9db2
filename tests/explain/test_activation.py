"""Class activation maps are what their papers define, whatever the network does with its memory."""

import numpy as np
import pytest
import torch
from torch import nn

import convwright as cw
from convwright.arch import at
from convwright.errors import ConvwrightError, UsageError
from convwright.explain import activation_maps
from convwright.explain.activation import plus_plus_weights, stretched
from convwright.prediction.network import Predictor

from ..tiny import RECALIBRATED, TINY

FAMILIES = {**TINY, "se-post": RECALIBRATED["mbconv-post"], "lite": "efficientnet_lite0|fit:32|scale:d=0.4,w=0.25"}


@torch.no_grad()
def lively(expression: str, **changes: int) -> nn.Module:
    """A network in evaluation mode whose normalisations and biases are none that training begins with."""
    network = at(cw.network(expression), **{"resolution": 32, "classes": 5} | changes)
    module = cw.build(network, seed=1)
    generator = torch.Generator().manual_seed(2)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.weight.copy_(1 + 0.3 * torch.randn(part.weight.shape, generator=generator))
            part.bias.copy_(0.3 * torch.randn(part.bias.shape, generator=generator))
    return module.eval()


@pytest.fixture
def images():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def features_of(module: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """What enters the global pooling, by running the network part by part."""
    for name, part in module.named_children():
        for inner in part.children() if name == "head" else [part]:
            if isinstance(inner, nn.AdaptiveAvgPool2d):
                return images
            images = inner(images)
    raise AssertionError("no global pooling")


@pytest.mark.parametrize("expression", FAMILIES.values(), ids=FAMILIES)
def test_cam_is_the_features_times_the_weights_of_the_class(expression, images):
    module = lively(expression)
    with torch.no_grad():
        features, logits = features_of(module, images), module(images)
        linear = list(module.head.children())[-1]
        expected = (linear.weight[logits.argmax(1)][:, :, None, None] * features).sum(1).numpy()
    found = activation_maps(module, images)
    assert found.method == "cam"
    assert found.targets == tuple(logits.argmax(1).tolist())
    assert np.allclose(found.raw, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    # The mean over the map and the class's bias are the class's score: nothing else is evidence for it.
    scores = found.raw.mean((1, 2)) + linear.bias.detach().numpy()[list(found.targets)]
    assert np.allclose(scores, logits.max(1).values, rtol=1e-4, atol=1e-4)
    assert found.probabilities == pytest.approx(logits.softmax(1).max(1).values.tolist(), rel=1e-4)


@pytest.mark.parametrize("expression", FAMILIES.values(), ids=FAMILIES)
def test_grad_cam_at_the_same_layer_is_cam_but_for_scale_and_relu(expression, images):
    module = lively(expression)
    plain, by_gradient = activation_maps(module, images), activation_maps(module, images, method="grad-cam")
    assert by_gradient.layer == plain.layer
    assert np.array_equal(activation_maps(module, images, layer=plain.layer, method="cam").raw, plain.raw)
    pixels = plain.raw[0].size
    assert np.allclose(by_gradient.raw * pixels, plain.raw, rtol=1e-3, atol=1e-5 * np.abs(plain.raw).max())
    assert np.allclose(by_gradient.maps, stretched(torch.from_numpy(plain.raw).relu(), (32, 32)), atol=1e-4)


def test_the_last_stage_and_its_last_block_are_the_same_layer(images):
    module = lively("cifar_resnet14|scale:w=0.25")
    found = [activation_maps(module, images, layer=layer) for layer in (None, "stage3", "stage3.block2")]
    assert [one.method for one in found] == ["cam"] * 3
    assert all(np.allclose(one.raw, found[0].raw) for one in found)


@pytest.mark.parametrize("layer", ["stage1", "stage2.block1", "stem", "stage3"])
@pytest.mark.parametrize("method", ["grad-cam", "grad-cam++"])
def test_maps_of_any_layer_by_autograd_alone(layer, method, images):
    module = lively("cifar_seresnet14|scale:w=0.5", channels=3)
    whole, _, block = layer.partition(".")
    parts = []
    for name, part in module.named_children():
        inside = name == whole and block
        parts += [(f"{name}.{inner}", one) for inner, one in part.named_children()] if inside else [(name, part)]
    features, rest, reached = images, [], False
    with torch.no_grad():
        for name, part in parts:
            if reached:
                rest.append(part)
            else:
                features = part(features)
                reached = name == layer
    features = features.clone().requires_grad_()
    logits = nn.Sequential(*rest)(features.clone()).flatten(1)
    (gradients,) = torch.autograd.grad(logits.max(1).values.sum(), features)
    weights = gradients.mean((2, 3)) if method == "grad-cam" else plus_plus_weights(features.detach(), gradients)
    expected = (weights[:, :, None, None] * features.detach()).sum(1)
    found = activation_maps(module, images, method=method, layer=layer)
    assert np.allclose(found.raw, expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()))


def test_an_activation_that_overwrites_the_layer_changes_nothing(images):
    module = lively("cifar_resnet8|scale:w=0.5")
    careful = lively("cifar_resnet8|scale:w=0.5")
    changed = [part for part in careful.modules() if getattr(part, "inplace", False)]
    assert changed, "nothing is overwritten: the test would prove nothing"
    for part in changed:
        part.inplace = False
    layers = [name for name, part in module.named_modules() if isinstance(part, nn.BatchNorm2d)]
    assert layers
    for layer in layers:
        for method in ("grad-cam", "grad-cam++"):
            found, expected = (activation_maps(one, images, method=method, layer=layer) for one in (module, careful))
            assert np.allclose(found.raw, expected.raw, rtol=1e-4, atol=1e-7), layer


def test_plus_plus_is_the_papers_equation():
    """Equation 19 with Y = exp(S): second and third derivatives by torch, S nearly linear in the features."""
    features = torch.rand(1, 2, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    linear = torch.randn(8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    flat = features.flatten().requires_grad_()
    y = torch.exp(flat @ linear)

    def derived(values: torch.Tensor) -> torch.Tensor:
        """The derivative of each value by its own feature."""
        rows = [torch.autograd.grad(value, flat, create_graph=True)[0][at] for at, value in enumerate(values)]
        return torch.stack(rows)

    first = torch.autograd.grad(y, flat, create_graph=True)[0]
    second = derived(first)
    third = derived(second)
    with torch.no_grad():
        totals = flat.view(2, 4).sum(1, keepdim=True)
        alpha = second.view(2, 4) / (2 * second.view(2, 4) + totals * third.view(2, 4))
        expected = (alpha * first.view(2, 4).relu()).sum(1)
    found = plus_plus_weights(features.detach(), linear.view(1, 2, 2, 2), epsilon=0)[0] * y.detach()
    assert torch.allclose(found, expected)


def test_nothing_is_left_behind(images):
    module = lively("cifar_resnet8|scale:w=0.5").train()
    module.stage1.eval()  # as a frozen part
    modes = [part.training for part in module.modules()]
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    for parameter in module.parameters():
        parameter.requires_grad_(False)  # a frozen network has maps too
    for method in ("cam", "grad-cam", "grad-cam++"):
        activation_maps(module, images, method=method)
    with pytest.raises(UsageError):
        activation_maps(module, images, layer="stage1.nothing")
    assert [part.training for part in module.modules()] == modes
    assert torch.is_grad_enabled()
    assert all(parameter.grad is None for parameter in module.parameters())
    assert not any(part._forward_hooks for part in module.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_batches_of_any_size_give_the_same_maps(images):
    module = lively("cifar_seresnet8|scale:w=0.5")
    whole = activation_maps(module, images, method="grad-cam++", target=[4, 0, 2])
    assert whole.targets == (4, 0, 2)
    for size in (1, 2):
        parts = activation_maps(module, images, method="grad-cam++", target=[4, 0, 2], batch_size=size)
        assert parts.targets == whole.targets
        assert np.allclose(parts.raw, whole.raw, rtol=1e-3, atol=1e-7)
        assert np.allclose(parts.maps, whole.maps, atol=1e-4)


@pytest.mark.parametrize(("resolution", "channels"), [(28, 1), (40, 3)])
def test_a_predictor_reads_images_at_its_own_size_and_channels(resolution, channels):
    module = lively("cifar_resnet8|scale:w=0.5", resolution=resolution, channels=channels)
    predictor = Predictor(module.network, module, "abcde", (0.5,) * channels, (0.25,) * channels)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 35, 35, 3), dtype=np.uint8)
    found = activation_maps(predictor, list(pictures), target="c")
    assert found.maps.shape == (2, resolution, resolution)
    assert found.targets == (2, 2)
    assert found.maps.min() == 0
    assert found.maps.max() == pytest.approx(1)
    for map_ in found.maps:
        assert (map_.min(), map_.max()) == (0, pytest.approx(1))
    read = torch.stack([predictor.read(picture) for picture in pictures])
    assert np.allclose(found.raw, activation_maps(module, predictor.normalised(read), target=2).raw, atol=1e-5)
    assert found.probabilities == pytest.approx(predictor.probabilities(read)[:, 2].tolist(), rel=1e-4)


def test_a_map_without_anything_positive_is_empty():
    assert not stretched(torch.zeros(2, 3, 3), (6, 6)).any()
    assert not stretched(torch.full((1, 3, 3), -2.0), (6, 6)).any()


class Foreign(nn.Module):
    """Convolutions whose ReLU is a function, and a head with a hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1))
        self.unused = nn.Conv2d(3, 3, 1)
        self.hidden, self.out = nn.Linear(8, 7), nn.Linear(7, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu_(self.features(x)).mean((2, 3))
        return self.out(torch.relu(self.hidden(x)))


def test_any_torch_module_has_grad_cam(images):
    torch.manual_seed(0)
    module = Foreign()
    found = activation_maps(module, images)
    assert (found.method, found.layer) == ("grad-cam", "features")
    assert found.raw.shape == (3, 8, 8)
    assert found.maps.shape == (3, 32, 32)
    features = module.features(images).detach().requires_grad_()
    logits = module.out(module.hidden(features.relu().mean((2, 3))).relu())
    (gradients,) = torch.autograd.grad(logits.max(1).values.sum(), features)
    expected = (gradients.mean((2, 3), keepdim=True) * features).sum(1).detach()
    assert np.allclose(found.raw, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "score-cam"}, "unknown method 'score-cam': the methods are cam, grad-cam and grad-cam\\+\\+"),
        ({"method": "cam", "layer": "stage2"}, "CAM is read at stage3, .* and not at stage2; use grad-cam"),
        ({"layer": "stage2.bodi"}, "there is no layer 'stage2.bodi'; similar names are .*stage2.add.body"),
        ({"layer": ""}, "there is no layer ''; similar names are stem"),
        ({"layer": "head"}, "head outputs 1x1 maps"),
        ({"target": 5}, "from 0 to 4; there is no class 5"),
        ({"target": [0, 1]}, "one for each image; there are more images than classes"),
        ({"target": [0, 1, 2, 3]}, "one for each image; these are 4"),
        ({"batch_size": 0}, "1 or more"),
        ({"target": True}, "a class is a number or a name, not True"),
        ({"target": 1.5}, "a class is a number or a name, not 1.5"),
        ({"target": [0, None, 1]}, "a class is a number or a name, not None"),
        ({"target": "cat"}, "have no names; give a number instead of 'cat'"),
    ],
)
def test_wrong_arguments_are_errors(options, message, images):
    with pytest.raises(UsageError, match=message):
        activation_maps(lively("cifar_resnet8|scale:w=0.5"), images, **options)


def test_classes_that_are_called_alike_are_named(images):
    module = lively("cifar_resnet8|scale:w=0.5")
    predictor = Predictor(module.network, module, ("Coat", "Shirt", "Boat", "Bag", "Hat"), (0.5,) * 3, (0.25,) * 3)
    picture = np.zeros((32, 32, 3), np.uint8)
    with pytest.raises(UsageError, match=r"no class 'goat'; similar names are .*Boat"):
        activation_maps(predictor, [picture], target="goat")
    with pytest.raises(UsageError, match="give a list"):
        activation_maps(predictor, picture)
    with pytest.raises(UsageError, match="no images"):
        activation_maps(predictor, [])
    with pytest.raises(ConvwrightError, match=r"cannot read absent.png: no such file"):
        activation_maps(predictor, ["absent.png"])


def test_heads_and_layers_that_have_no_cam_are_errors(images):
    vgg = lively("vgg11_bn|scale:w=0.125|fit:32")
    assert activation_maps(vgg, images).method == "grad-cam"
    with pytest.raises(
        UsageError, match="a head of global pooling and one linear layer, which this network does not have"
    ):
        activation_maps(vgg, images, method="cam")
    with pytest.raises(UsageError, match="networks of Convwright"):
        activation_maps(Foreign(), images, method="cam")
    with pytest.raises(UsageError, match="do not depend on the output of unused"):
        activation_maps(Foreign(), images, layer="unused")
    with pytest.raises(UsageError, match="outputs no feature maps"):
        activation_maps(Foreign(), images, layer="hidden")
    with pytest.raises(UsageError, match="a float tensor N x C x H x W"):
        activation_maps(vgg, images.to(torch.uint8))


@pytest.mark.parametrize(
    "target", [np.int64(3), torch.tensor(3), np.array(3), [3, 3, 3], (np.int8(3),) * 3, torch.full((3,), 3)]
)
def test_a_class_is_any_whole_number(target, images):
    assert activation_maps(lively("cifar_resnet8|scale:w=0.5"), images, target=target).targets == (3, 3, 3)


@pytest.mark.parametrize(
    ("expression", "layer"), [("resnet18|scale:w=0.125", "stage3"), ("vgg11_bn|scale:w=0.125", "stage5")]
)
def test_where_the_last_maps_have_one_pixel_the_last_block_with_more_is_taken(expression, layer, images):
    module = lively(expression)
    found = activation_maps(module, images)
    assert (found.method, found.layer, found.raw.shape) == ("grad-cam", layer, (3, 2, 2))
    assert f"one pixel; {layer} is the last block" in found.note
    assert np.array_equal(found.raw, activation_maps(module, images, method="grad-cam", layer=layer).raw)
    assert activation_maps(module, images, method="grad-cam++").layer == layer
    assert activation_maps(lively("cifar_resnet8|scale:w=0.5"), images).note == ""
    with pytest.raises(UsageError, match="1x1 maps"):
        activation_maps(module, images, layer="stage4.block2" if layer == "stage3" else "pool5")


def test_cam_by_name_of_one_pixel_is_an_error(images):
    with pytest.raises(UsageError, match=r"1x1 maps, .*; use grad-cam"):
        activation_maps(lively("resnet18|scale:w=0.125"), images, method="cam")


def test_a_head_that_was_replaced_has_grad_cam(images):
    module = lively("cifar_resnet8|scale:w=0.5")
    module.head.linear = nn.Sequential(nn.Flatten(), nn.Linear(module.head.linear.in_features, 5))
    assert activation_maps(module, images).method == "grad-cam"
    with pytest.raises(UsageError, match=r"one linear layer behind the pooling, and head\.linear is something else"):
        activation_maps(module, images, method="cam")


class ChannelsLast(nn.Module):
    """As Swin Transformer: a patch embedding, then N x H x W x C to the end."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm, self.out = nn.Conv2d(3, 12, 4, 4), nn.LayerNorm(12), nn.Linear(12, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.norm(self.patches(x).permute(0, 2, 3, 1)).mean((1, 2)))


class Tokens(nn.Module):
    """As a vision transformer: N x heads x tokens x features inside its attention, N x tokens x features outside."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.keys, self.norm = nn.Conv2d(3, 12, 4, 4), nn.LayerNorm(6), nn.LayerNorm(12)
        self.out = nn.Linear(12, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        heads = self.keys(tokens.unflatten(2, (2, 6)).transpose(1, 2))
        return self.out(self.norm(heads.transpose(1, 2).flatten(2)).mean(1))


@pytest.mark.parametrize(
    ("kind", "shape", "layer"), [(ChannelsLast, "1 x 8 x 8 x 12", "norm"), (Tokens, "1 x 64 x 12", "keys")]
)
def test_outputs_that_are_no_maps_are_refused(kind, shape, layer, images):
    module = kind()
    with pytest.raises(UsageError, match=f"{shape}, from norm: .* CAM is for convolutional networks; name a layer"):
        activation_maps(module, images)
    with pytest.raises(UsageError, match=f"{layer} outputs no feature maps"):
        activation_maps(module, images, layer=layer)
    assert activation_maps(module, images, layer="patches").raw.shape == (3, 8, 8)


def test_the_last_maps_are_of_a_layer_that_the_scores_depend_on():
    class Watching(Foreign):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            scores = super().forward(x)
            self.unused(x)
            return scores

    tall = torch.randn(2, 3, 33, 70, generator=torch.Generator().manual_seed(0))
    found = activation_maps(Watching(), tall)
    assert (found.layer, found.raw.shape) == ("features", (2, 9, 18))


def test_running_out_of_memory_is_not_reported_as_a_wrong_layer(images):
    class Exhausting(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            return x.clone()

        @staticmethod
        def backward(context, gradient):
            raise torch.OutOfMemoryError("out of memory")

    class Large(Foreign):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) + Exhausting.apply(self.features(x)).mean()

    with pytest.raises(torch.OutOfMemoryError):
        activation_maps(Large(), images, layer="features")
