"""A network without its last linear layer: it maps images to features."""

from collections.abc import Callable
from contextlib import suppress

import torch
from torch import nn

from convwright.engines.folding import clamped, folded
from convwright.engines.module_program import features_program
from convwright.engines.program import Program
from convwright.engines.torch_program import TorchProgram
from convwright.errors import NetworkError
from convwright.modules.builder import ConvNet
from convwright.modules.combinators import FullyConnected


class Backbone(nn.Sequential):
    """All layers of a built network before its last linear layer and the dropout before that.

    It shares the network's weights.

    Args:
        whole: The network.
        parts: The layers.
    """

    def __init__(self, whole: nn.Module, *parts: nn.Module) -> None:
        super().__init__(*parts)
        self._whole = (whole,)  # in a tuple, so that its weights do not count twice

    def inference(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return a function that maps a batch of images to features, N x C x 1 x 1, float32.

        On a CPU it computes what this module does in evaluation mode, up to rounding, with normalisations merged into
        convolutions. It uses the weights of now, and its input may be on any device.
        """
        device = next(self.parameters(), torch.empty(0)).device
        program = self._program() if device.type == "cpu" else None
        fast = None if program is None else TorchProgram(program)

        def infer(images: torch.Tensor) -> torch.Tensor:
            images = images.to(device)
            if fast is not None and program is not None and tuple(images.shape[1:]) == program.shapes[0]:
                found: torch.Tensor = fast(images).reshape(len(images), *program.shapes[program.output])
                return found
            with torch.no_grad():
                found = self(images.contiguous(memory_format=torch.channels_last))
            return found.float()

        return infer

    def _program(self) -> Program | None:
        """Return the operations on normalised images; None if a layer has no counterpart in a program."""
        (whole,) = self._whole
        if not isinstance(whole, ConvNet):
            return None
        with suppress(NetworkError):
            # Cut before folding, which may merge a normalisation of the features into the linear layer.
            return clamped(folded(features_program(whole)))
        return None


def split(module: nn.Module) -> tuple[Backbone, nn.Sequential]:
    """Cut a built network before its last linear layer, and the dropout before that, into two that share its weights.

    The first maps images to features, the second features (N x C x 1 x 1) to N x classes.
    """
    *body, head = module.children()
    parts = list(head.children())
    cut = max(index for index, part in enumerate(parts) if isinstance(part, FullyConnected))
    while cut and isinstance(parts[cut - 1], nn.Dropout):
        cut -= 1
    return Backbone(module, *body, *parts[:cut]), nn.Sequential(*parts[cut:], nn.Flatten(1))
