"""The program of a built network's module: its operations on normalised images, with the weights of now."""

from dataclasses import replace

from convwright.engines.lowering import lower
from convwright.engines.program import Connect, Program
from convwright.errors import NetworkError
from convwright.modules.builder import ConvNet


def module_program(module: ConvNet) -> Program:
    """Return the operations of a built network on normalised images, not yet simplified.

    Args:
        module: The network.

    Raises:
        NetworkError: A layer has no counterpart in a program.
    """
    channels = module.network.channels
    weights = {name: tensor.detach().float().cpu().numpy() for name, tensor in module.state_dict().items()}
    return lower(module.network, weights, [0.0] * channels, [1 / 255] * channels)


def features_program(module: ConvNet) -> Program:
    """Return the operations before the last linear layer; see `module_program`.

    Raises:
        NetworkError: A layer has no counterpart in a program, or there is no linear layer.
    """
    program = module_program(module)
    last = max((at for at, op in enumerate(program.ops) if isinstance(op, Connect)), default=None)
    if last is None:
        raise NetworkError(f"{module.network.name} has no linear layer")
    return replace(program, ops=program.ops[:last], output=program.ops[last].inputs[0])
