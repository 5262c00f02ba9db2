"""Programs compute what the modules compute, before and after algebra has made them quicker."""

from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given as drawn
from hypothesis import reject

import convwright as cw
from convwright.arch.layers import Act, Add, Concat, Conv, Gate, GlobalPool, Identity, Norm, Seq
from convwright.engines.folding import clamped, folded
from convwright.engines.lowering import lower
from convwright.engines.program import Affine, Clamp, Convolve, Join, Mean, Window
from convwright.engines.program_check import check_program
from convwright.engines.torch_program import TorchProgram
from convwright.errors import NetworkError
from convwright.zoo.common import Classifier

from ..arch.strategies import Graph, networks, raw
from ..subjects import images_for, subject_of
from ..tiny import RECALIBRATED, TINY

MORE = {
    "pool with ceil, branches": "googlenet|resolution:48|scale:w=0.25",
    "scaled residual": "inception_resnet_v2|resolution:96|scale:d=0.2,w=0.125",
    "padded as TensorFlow pads": "efficientnet_lite0|resolution:32|scale:w=0.25",
    "grouped": "resnext50_32x4d|resolution:32|scale:d=0.3",
    "padded shortcut": "cifar_resnet8",
    "several linear layers": "vgg11|resolution:224|scale:w=0.0625",
}


def plain_program(subject):
    predictor = subject.predictor
    weights = {name: tensor.numpy() for name, tensor in predictor.module.state_dict().items()}
    return lower(subject.network, weights, predictor.mean, predictor.std)


def difference(given, expected):
    return np.abs(given - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("expression", (TINY | RECALIBRATED | MORE).values(), ids=[*TINY, *RECALIBRATED, *MORE])
def test_every_stage_computes_what_the_module_computes(expression):
    subject = subject_of(expression)
    images = images_for(subject, 2)
    expected = subject.reference(images)
    program = plain_program(subject)
    assert program.macs == cw.cost(subject.network).macs
    for stage in (program, folded(program), clamped(folded(program))):
        check_program(stage)
        assert stage.macs <= program.macs
        given = TorchProgram(stage)(torch.from_numpy(images)).numpy()
        assert difference(given, expected) < 1e-5


def test_residual_networks_keep_no_normalisation():
    program = folded(plain_program(subject_of(TINY["residual-bottleneck"])))
    assert [op.path for op in program.ops if isinstance(op, Affine)] == ["normalisation"]  # subtracting the mean


def test_dense_layers_keep_bounds_only():
    subject = subject_of(TINY["dense-bottleneck"])
    kinds = [type(op) for op in clamped(folded(plain_program(subject))).ops]
    dense = sum(isinstance(op, Join) for op in plain_program(subject).ops)
    assert kinds.count(Clamp) == dense
    assert kinds.count(Affine) == 4  # subtracting the mean; before the pools of two transitions and of the classifier


def test_transitions_pool_first():
    program = folded(plain_program(subject_of(TINY["dense-bottleneck"])))
    makers = program.makers()
    after = [op for op in program.ops if isinstance(op, Convolve) and op.path.startswith("transition")]
    assert len(after) == 2
    assert all(isinstance(makers[op.inputs[0]], Window) for op in after)
    assert program.macs < plain_program(subject_of(TINY["dense-bottleneck"])).macs


def test_squeeze_reads_the_fewer_maps():
    subject = subject_of("resnet50|fit:32|scale:d=0.3,w=0.125|classes:10|se:4")
    before, after = plain_program(subject), folded(plain_program(subject))

    def squeezed(program):
        return [program.shapes[op.inputs[0]][0] for op in program.ops if isinstance(op, Mean)][:-1]  # less the head's

    assert [4 * channels for channels in squeezed(after)] == squeezed(before)


def test_dense_blocks_are_written_into_one_buffer():
    module = TorchProgram(clamped(folded(plain_program(subject_of(TINY["dense-bottleneck"])))))
    joins = [op for op in module.program.ops if isinstance(op, Join)]
    assert all(op.output in module.places for op in joins)
    assert len({module.places[op.output][0] for op in joins}) == 3, "a buffer a block"


def test_what_cannot_be_exported_is_told_with_its_place():
    with pytest.raises(NetworkError, match=r"at head: head\.pool: no engine pools a map of 2 x 2 to 7 x 7"):
        plain_program(subject_of("vgg11|resolution:64|scale:w=0.0625"))


def unwritten(*size, **options):
    """Memory that nobody has written to, as the worst case of `torch.empty`."""
    return torch.full(*size, torch.nan, **options)


def in_double(subject, program, images):
    """Logits of the module and of a program of it, in double precision: what differs is no rounding."""
    predictor = subject.predictor
    module = predictor.module.double()
    mean, std = (
        torch.tensor(values, dtype=torch.float64).view(-1, 1, 1) * 255 for values in (predictor.mean, predictor.std)
    )
    pixels = torch.from_numpy(images)
    with torch.inference_mode():
        expected = module((pixels - mean) / std).numpy()
    run = TorchProgram(program, torch.float64)
    with mock.patch.object(torch, "empty", unwritten):
        return expected, run(pixels).numpy()


def graph_subject(layer, channels=4, resolution=6):
    network = cw.Network("graph", Graph(layer), (), Classifier(), resolution, channels, 5)
    return subject_of(network)


def test_joins_that_share_a_beginning_do_not_share_memory():
    def longer():
        return Concat(Identity(), Conv(3))

    layers = {
        "two chains from one join": Seq(Concat(Identity(), Conv(3)), Add(longer(), longer())),
        "a join twice": Seq(Conv(4), Concat(Conv(2), Conv(3)), Concat(Identity(), Identity())),
        "a join as a later part": Seq(Conv(4), Concat(Conv(2), Seq(Act("relu"), Concat(Identity(), Identity())))),
    }
    for told, layer in layers.items():
        subject = graph_subject(layer)
        expected, given = in_double(subject, plain_program(subject), images_for(subject, 2))
        assert difference(given, expected) < 1e-6, told


def test_a_squeeze_is_not_taken_early_past_what_is_rewritten():
    gate = Gate(GlobalPool(), Conv(2, bias=True), Act("tanh"), Conv(9, bias=True), Act("sigmoid"))
    subject = graph_subject(Seq(Conv(4, 3), Act("relu"), Norm(), Conv(9), gate))
    program = folded(plain_program(subject))
    assert next(program.shapes[op.inputs[0]][0] for op in program.ops if isinstance(op, Mean)) == 4, "of the fewer maps"
    expected, given = in_double(subject, program, images_for(subject, 2))
    assert difference(given, expected) < 1e-6


@drawn(networks | raw)
def test_random_networks_are_what_they_were_after_algebra(network):
    subject = subject_of(network)
    images = images_for(subject, 2)
    try:
        program = plain_program(subject)
    except NetworkError:
        reject()  # told when exporting
    for stage in (program, folded(program), clamped(folded(program))):
        check_program(stage)
        expected, given = in_double(subject, stage, images)
        assert given.shape == expected.shape
        assert np.allclose(given, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
