"""The class activation map as an output of an exported file.

Where a network ends in global pooling and one linear layer, its score for a class is the mean of the last feature maps
weighted by the class's own row of the linear layer. The weighted maps themselves are the class activation map (Zhou et
al. 2016): their mean plus the bias is the logit. The file grows by the weights of the linear layer.
"""

from dataclasses import dataclass

import numpy as np
import torch

from convwright.engines.lowering import lower
from convwright.engines.parts import EXPLAINED_CLASS, EXPLANATION, LOGITS, MAP
from convwright.engines.program import Connect, Mean
from convwright.errors import ArgumentError
from convwright.exporting.joining import After
from convwright.exporting.onnx_terms import Formulas
from convwright.exporting.subject import Subject
from convwright.prediction.network import Predictor

FEATURES = EXPLANATION + "features"
"""Name that stands for the last feature maps in the nodes of this part."""


@dataclass(frozen=True, eq=False)
class Explained:
    """What a class activation map is computed from."""

    pooling: str
    """Path of the global pooling, whose input are the last feature maps."""
    weight: np.ndarray
    """Weights of the linear layer, classes x channels, float32."""
    size: tuple[int, int]
    """Height and width of the last feature maps."""


def explained(subject: Subject) -> Explained:
    """Return what the class activation maps of a network are computed from.

    Raises:
        ArgumentError: They do not exist for the network; the message gives the reason.
    """
    predictor = subject.predictor
    weights = {name: tensor.cpu().numpy() for name, tensor in predictor.module.state_dict().items()}
    program = lower(subject.network, weights, predictor.mean, predictor.std)
    makers = program.makers()
    linear = makers[program.output]
    pooling = makers.get(linear.inputs[0])
    if not isinstance(linear, Connect) or not isinstance(pooling, Mean):
        raise ArgumentError(
            "explain",
            f"class activation maps need a head of global pooling and one linear layer, and {subject.network.name} has "
            "another one; `cw.explain.cam` explains it with grad-cam",
        )
    _, height, width = program.shapes[pooling.inputs[0]]
    if height * width == 1:
        raise ArgumentError(
            "explain", "the last feature maps have one pixel, so there is nothing to map; train at a higher resolution"
        )
    return Explained(pooling.path, linear.weight.astype(np.float32), (height, width))


def map_output(found: Explained) -> After:
    """Return the nodes from `FEATURES`, `LOGITS` and `EXPLAINED_CLASS` to `MAP`, float32, `N x height x width`."""
    to = Formulas(EXPLANATION)
    features, logits = to.value(FEATURES, np.float32), to.value(LOGITS, np.float32)
    given = to.value(EXPLAINED_CLASS, np.int64)
    predicted = to.node("ArgMax", [logits], np.int64, axis=1, keepdims=0)
    target = to.where(given < 0, predicted, given)
    rows = to.constant(found.weight, np.float32).apply("Gather", target, axis=0).reshape([-1, 1, found.weight.shape[1]])
    flat = features.reshape([0, 0, -1])
    to.node("Reshape", [rows.matmul(flat), to.constant([-1, *found.size], np.int64)], output=MAP)
    ports = [(MAP, np.float32, ("batch", *found.size))]
    maps = ("batch", "channels", "height", "width")
    return After(to, ports, FEATURES, maps, found.pooling, {EXPLAINED_CLASS: -1})


@torch.inference_mode()
def reference_maps(predictor: Predictor, found: Explained, images: np.ndarray) -> np.ndarray:
    """Return the class activation maps of the predicted classes as the network computes them in torch.

    Args:
        predictor: The network.
        found: What its maps are computed from.
        images: `N x C x H x W`, uint8.
    """
    seen: list[torch.Tensor] = []

    def record(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        seen.append(inputs[0])

    handle = predictor.module.get_submodule(found.pooling).register_forward_pre_hook(record)
    try:
        top = predictor.logits(torch.from_numpy(images)).argmax(1)
    finally:
        handle.remove()
    rows = torch.from_numpy(found.weight).to(top.device)[top]
    maps: np.ndarray = torch.einsum("nc,nchw->nhw", rows, seen[0].float()).cpu().numpy()
    return maps
