"""Built modules: names, devices, memory formats, precisions, and what they compute."""

import copy

import pytest
import torch
from hypothesis import given
from torch import nn

import convwright as cw
from convwright.arch import Network
from convwright.arch.layers import (
    ACTIVATIONS,
    Act,
    Add,
    Concat,
    Conv,
    Dropout,
    Gate,
    GlobalPool,
    Identity,
    Layer,
    Linear,
    Norm,
    PadChannels,
    Pool,
    Seq,
)
from convwright.modules.combinators import Sum
from convwright.zoo.common import Classifier

from ..arch.strategies import Graph, networks, raw
from ..tiny import RECALIBRATED, TINY

EVERY = TINY | RECALIBRATED
every = pytest.mark.parametrize("expression", EVERY.values(), ids=EVERY)
families = pytest.mark.parametrize("expression", TINY.values(), ids=TINY)


def images(network: Network, count: int = 4, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    size = (count, network.channels, network.resolution, network.resolution)
    return torch.randn(size, generator=generator, dtype=dtype)


@given(networks | raw)
def test_convolutions_and_linear_layers_are_named_as_cost_names_them(network: Network) -> None:
    module = cw.build(network, device="meta")
    learnt = {name for name, part in module.named_modules() if isinstance(part, nn.Conv2d | nn.Linear)}
    assert learnt == {row.path for row in cw.cost(network).layers if isinstance(row.layer, Conv | Linear)}


def test_names_are_readable() -> None:
    names = {
        name
        for network in ("seresnet50", "densenet121")
        for name, _ in cw.build(cw.network(network), device="meta").named_parameters()
    }
    assert names >= {
        "stem.conv.weight",
        "stage1.block1.add.shortcut.conv.weight",
        "stage3.block6.add.body.norm2.bias",
        "stage4.block3.add.body.se.conv1.bias",
        "dense2.block12.new.conv2.weight",
        "transition3.conv.weight",
        "head.linear.weight",
    }


def test_the_module_knows_what_it_was_built_from() -> None:
    module = cw.build(cw.network("cifar_resnet8"), 7, channels=1)
    assert module.network == cw.network("cifar_resnet8|channels:1|classes:7")
    assert module(torch.randn(2, 1, 32, 32)).shape == (2, 7)


@families
def test_a_meta_module_has_no_weights_and_the_names_of_a_real_one(expression: str) -> None:
    network = cw.network(expression)
    meta, real = cw.build(network, device="meta"), cw.build(network)
    assert all(tensor.is_meta for tensor in meta.state_dict().values())
    assert not any(tensor.is_meta for tensor in real.state_dict().values())
    assert {k: v.shape for k, v in meta.state_dict().items()} == {k: v.shape for k, v in real.state_dict().items()}
    assert all(parameter.requires_grad for parameter in real.parameters())


@families
def test_channels_last_computes_the_same(expression: str) -> None:
    network = cw.network(expression)
    module = cw.build(network, seed=0).eval()
    x = images(network)
    with torch.no_grad():
        expected = module(x)
        last = module.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(last, expected, rtol=1e-4, atol=1e-5)


@families
def test_an_exported_program_computes_the_same(expression: str) -> None:
    network = cw.network(expression)
    module = cw.build(network, seed=0).eval()
    x = images(network, 2)
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(module, (x,), dynamic_shapes=({0: batch},))
    x = images(network, 5)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(x), module(x), rtol=1e-5, atol=1e-6)


@families
def test_bfloat16_autocast_trains(expression: str) -> None:
    network = cw.network(expression)
    module = cw.build(network, seed=0)
    with torch.autocast("cpu", torch.bfloat16):
        logits = module(images(network))
        loss = nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2, 3]))
    assert logits.dtype == torch.bfloat16
    loss.backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.dtype == torch.float32
        assert parameter.grad.isfinite().all(), name


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@families
def test_cuda_computes_what_the_cpu_computes(expression: str) -> None:
    network = cw.network(expression)
    on_cpu = cw.build(network, seed=0).double().eval()
    on_gpu = cw.build(network, device="cuda", seed=0).double().eval()
    on_gpu.load_state_dict(on_cpu.state_dict())
    x = images(network, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(on_gpu(x.cuda()).cpu(), on_cpu(x))


# Gradients


def gradients(module: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Gradients of every parameter and of the input, for a loss that weighs all outputs differently."""
    x = x.clone().requires_grad_()
    logits = module(x)
    (logits * torch.linspace(1, 2, logits.numel(), dtype=x.dtype).view_as(logits)).sum().backward()
    assert x.grad is not None
    return {"input": x.grad} | {n: p.grad for n, p in module.named_parameters() if p.grad is not None}


def check_in_place(network: Network, module: nn.Module) -> None:
    """Overwriting maps in place changes no gradient, and no gradient is missing."""
    module = module.double()
    careful = copy.deepcopy(module)
    for part in careful.modules():
        if hasattr(part, "inplace"):
            part.inplace = False
    x = images(network, 3, torch.float64)
    expected = gradients(careful, x)
    assert expected.keys() == {"input", *(name for name, _ in module.named_parameters())}
    for name, gradient in gradients(module, x).items():
        torch.testing.assert_close(gradient, expected[name], msg=name)


@every
def test_activations_in_place_change_no_gradient(expression: str) -> None:
    network = cw.network(expression)
    module = cw.build(network, seed=0)
    for part in module.modules():
        if isinstance(part, nn.Dropout | Sum):  # whose noise would differ from run to run
            part.training = False
    assert any(getattr(part, "inplace", False) for part in module.modules()) or "efficientnet" in expression
    check_in_place(network, module)


@pytest.mark.parametrize(
    "layer",
    [
        *(Act(function) for function in ACTIVATIONS),
        Conv(4, 3),
        Norm(),
        Dropout(0.5),
        Pool("max", 2, 2),
        Pool("avg", 2, 2),
        GlobalPool(),
        Linear(4),
        PadChannels(6),
        Identity(),
        Add(Identity(), Act("tanh")),
        Concat(Identity(), Act("sigmoid")),
        Gate(GlobalPool(), Act("sigmoid")),
    ],
    ids=repr,
)
def test_an_activation_in_place_spoils_no_layer_before_it(layer: Layer) -> None:
    graph = Seq(layer, Act("relu"), Act("relu6"))
    network = Network("after", Graph(graph), (), Classifier(), resolution=4, channels=4, classes=2)
    check_in_place(network, cw.build(network, seed=0).eval())


@given(raw)
def test_activations_in_place_change_no_gradient_in_any_graph(network: Network) -> None:
    check_in_place(network, cw.build(network, seed=0).eval())


@every
def test_the_input_is_left_as_it_was(expression: str) -> None:
    network = cw.network(expression)
    module = cw.build(network, seed=0)
    x = images(network)
    before = x.clone()
    module(x)
    assert torch.equal(x, before)


# Squeeze-and-excitation


def test_gates_of_linear_layers_gate_channels() -> None:
    gate = Gate(GlobalPool(), Linear(2), Linear(4))
    network = Network("gate", Graph(Seq(gate)), (), Classifier(), resolution=4, channels=4, classes=2)
    module = cw.build(network, seed=0).stem.se
    x = torch.randn(4, 4, 4, 4)  # as many images as pixels a side: a factor must not go to rows or images
    squeezed = x.mean((2, 3))
    factors = module.linear2.weight @ (module.linear1.weight @ squeezed.T + module.linear1.bias[:, None])
    expected = x * (factors + module.linear2.bias[:, None]).T[:, :, None, None]
    torch.testing.assert_close(module(x), expected)


def test_excitations_are_one_factor_an_image_and_channel_from_0_to_1() -> None:
    gate = cw.build(cw.network("seresnet50|fit:32"), seed=0).stage1.block1.add.body.se
    factors = gate.excitation(10 * torch.randn(3, 256, 8, 8))
    assert factors.shape == (3, 256, 1, 1)
    assert ((factors > 0) & (factors < 1)).all()
