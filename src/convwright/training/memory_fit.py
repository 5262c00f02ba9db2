"""How large a batch fits into memory, from what one image keeps for the backward pass."""

import torch
from torch.multiprocessing.reductions import StorageWeakRef

from convwright.arch import Network
from convwright.arch.resolution import format_resolution, sides
from convwright.data import Dataset
from convwright.data.memory import available_memory
from convwright.errors import OutOfMemoryError
from convwright.modules import build
from convwright.modules.fused.dense import DenseStage
from convwright.training.allocator import freed_memory
from convwright.training.config import TrainConfig
from convwright.training.devices import world_size
from convwright.training.plan import FEWEST_STEPS
from convwright.training.preparation import make_learner, training_batches
from convwright.training.step import Learner
from convwright.units import human_bytes

USABLE = 0.7
"""Share of the free memory that a step may take."""
OVERHEAD = 1.6
"""Gradients of activations, and the workspace of convolutions, on top of what is kept for the backward pass."""
LARGEST = 1024
SAMPLE = 4


def fitting_batch(
    config: TrainConfig,
    network: Network,
    data: Dataset,
    free: int | None = None,
    *,
    learner: Learner | None = None,
) -> int:
    """Return the largest power of two of images whose training step fits into memory.

    Args:
        config: The configuration; its batch size is ignored.
        network: Network to train.
        data: The images.
        free: Bytes of free memory; by default what the device has.
        learner: Network to measure; by default one is made.

    Returns:
        Images in a batch: at most 1024, and no more than leaves 40 steps an epoch.

    Raises:
        OutOfMemoryError: Not even one image fits.
    """
    config = config.model_copy(update={"devices": world_size()})
    learner = learner or make_learner(config, network, data)
    free = free_memory(learner.fabric.device) if free is None else free
    fits = LARGEST if free is None else int(USABLE * free / step_bytes(learner, config, data))
    if fits < 1:
        raise OutOfMemoryError(
            f"not even one image of {format_resolution(data.resolution)} px fits into the {free or 0:,} bytes of free "
            "memory; give a smaller `resolution` or `network`"
        )
    fits = min(fits, LARGEST, max(1, len(data.train) // FEWEST_STEPS))
    return 1 << (fits.bit_length() - 1)


def step_bytes(learner: Learner, config: TrainConfig, data: Dataset) -> float:
    """Return about how much memory a training step takes for each image, measured on a few of them."""
    small = config.model_copy(update={"batch_size": min(SAMPLE, len(data.train))})
    images, _ = training_batches(small, data).at(0)
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    module = learner.network.train()
    trained = [weight.requires_grad for weight in module.parameters()]
    if not config.recipe.freeze:  # a backbone that is frozen at first needs most memory afterwards
        module.requires_grad_(True)
    states = {name: value.clone() for name, value in module.state_dict().items()}
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        module(images.to(learner.fabric.device))
    for weight, flag in zip(module.parameters(), trained, strict=True):
        weight.requires_grad_(flag)
    module.load_state_dict(states)  # the statistics of normalisations have seen the sample
    return OVERHEAD * sum(kept.values()) / len(images)


def estimated_batch(network: Network) -> int:
    """Return about how many images fit into a step on the CPU of a new process, without computing anything."""
    free = available_memory()
    if free is None:
        return SAMPLE
    fits = int(USABLE * (free + freed_memory()) / (OVERHEAD * kept_bytes(network)))
    return 1 << (max(1, min(fits, LARGEST)).bit_length() - 1)


def memory_shortage(config: TrainConfig, network: Network, free: int | None = None) -> str:
    """Return why a step of a network with dense blocks does not fit into memory; empty where it does, or has none.

    Args:
        config: The configuration. A batch of open size is made to fit, and has no shortage.
        network: The network.
        free: Bytes of free memory; by default those of the machine.
    """
    dense = build(network, device="meta", memory_efficient=True).modules()
    free = available_memory() if free is None else free
    if free is None or not any(isinstance(part, DenseStage) for part in dense):
        return ""
    images = -(-config.batch_size // config.recipe.accumulate)
    needed = OVERHEAD * images * kept_bytes(network)
    if needed <= USABLE * free:
        return ""
    return f"a step would take about {human_bytes(needed)} otherwise, and {human_bytes(free)} are free"


def kept_bytes(network: Network) -> float:
    """Return the bytes that torch's operators keep of an image for the backward pass, without computing anything."""
    module = build(network, device="meta", fused=False).train()
    kept: dict[int, tuple[torch.Tensor, int]] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            storage = tensor.untyped_storage()
            kept[StorageWeakRef(storage).cdata] = tensor, storage.nbytes()  # held, so that no other has its number
        return tensor

    images = torch.empty(SAMPLE, network.channels, *sides(network.resolution), device="meta")
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        module(images)
    return sum(size for _, size in kept.values()) / SAMPLE


def free_memory(device: torch.device) -> int | None:
    """Return the bytes that a device has left, or None if the device does not report it."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_memory()
