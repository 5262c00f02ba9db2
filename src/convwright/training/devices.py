"""Several processes that train one network: their numbers, and the sums that they share.

Each has a copy of the network and a share of every batch; gradients are averaged by Lightning Fabric's DDP. What is
written and shown is left to the first. With the same global batch the weights equal one process's up to rounding;
dropout and stochastic depth draw differently in each process, but the same in each repetition.
"""

import atexit
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from convwright.display.wording import counted
from convwright.errors import ArgumentError, UsageError
from convwright.machine import available_cores
from convwright.training.config import TrainConfig
from convwright.training.one_process import OneProcess

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Devices:
    """The processes of a run, this one among them.

    Args:
        config: Configuration of the run: its devices, batch size and precision.

    Raises:
        UsageError: Another number of processes takes part, or the batch has fewer images than there are processes.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.size = world_size()
        if config.devices != self.size:
            raise UsageError(
                f"the run is for {counted(config.devices, 'process', 'processes')}, and "
                f"{counted(self.size, 'process takes', 'processes take')} part; "
                f"`cw.train(devices={config.devices})` or torchrun starts as many"
            )
        self.fabric: Fabric | OneProcess
        """Lightning Fabric, or what does the same with less to import."""
        if self.size == 1:
            self.fabric = OneProcess()
            return
        check_batch(config.batch_size, self.size)
        self.fabric = _fabric(self.size)
        atexit.register(_end_process_group)

    @property
    def rank(self) -> int:
        """The number of this process, from 0."""
        return self.fabric.global_rank

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes and shows."""
        return self.rank == 0

    def share(self, batch: torch.Tensor) -> torch.Tensor:
        """Return this process's part of a global batch; parts differ by one image at most."""
        return batch.tensor_split(self.size)[self.rank]

    def total(self, *values: float) -> list[float]:
        """Add up each value over all processes."""
        if self.size == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64, device=self.fabric.device)
        torch.distributed.all_reduce(sums)
        return sums.tolist()

    def largest(self, value: int) -> int:
        """Return the largest of all processes' values."""
        if self.size == 1:
            return value
        found = torch.tensor(value, device=self.fabric.device)
        torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MAX)
        return int(found)

    def average(self, values: Sequence[torch.Tensor]) -> None:
        """Replace each of the values by its mean over all processes, in one exchange."""
        if self.size == 1 or not values:
            return
        joined = torch.cat([value.flatten() for value in values])
        torch.distributed.all_reduce(joined)
        for value, mean in zip(values, (joined / self.size).split([value.numel() for value in values]), strict=True):
            value.copy_(mean.view_as(value))

    def wait(self) -> None:
        """Wait until all processes have called this."""
        if self.size > 1:
            self.fabric.barrier()


def training_device() -> torch.device:
    """Return the device on which a run of one process trains."""
    return OneProcess().device


def _fabric(size: int) -> "Fabric":
    """Return Lightning Fabric for this process, one of `size`, which have found each other then.

    It computes in the types that it is given: `convwright.training.precision` selects them.
    """
    from lightning_fabric import Fabric  # here, since it takes a second

    with _without_log():
        local = int(os.environ.get("LOCAL_WORLD_SIZE", size))
        fabric = Fabric(accelerator="auto", devices=local, num_nodes=size // local, strategy="ddp")
        fabric.launch()
        return fabric


def _end_process_group() -> None:
    """End the group of processes, whose threads must not outlive the interpreter.

    It lasts until then, since a second group could not find its members at the same address as the first.
    """
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@contextmanager
def _without_log() -> Iterator[None]:
    """Silence the messages of Lightning Fabric."""
    logger = logging.getLogger("lightning_fabric")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def world_size() -> int:
    """Return how many processes take part, from the environment of the launcher (ours, or torchrun); 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "LOCAL_RANK" in os.environ else 1


def is_main_process() -> bool:
    """Return whether this is the first process, or the only one."""
    return world_size() == 1 or os.environ.get("RANK", "0") == "0"


def check_batch(batch_size: int, devices: int) -> None:
    """Check that every process gets an image of each batch.

    Raises:
        ArgumentError: The batch has fewer images than there are devices.
    """
    if batch_size < devices:
        raise ArgumentError(
            "batch_size", f"{counted(batch_size, 'image')} cannot be shared by {counted(devices, 'device')}; give more"
        )


def check_devices(devices: int) -> None:
    """Check that this machine has as many GPUs, or where it has none, processor cores.

    Raises:
        ArgumentError: It has fewer.
    """
    gpus = torch.cuda.device_count()
    available, kind = (gpus, "GPU") if gpus else (len(available_cores()), "processor core")
    if not 1 <= devices <= available:
        right = f"1 to {available}" if available > 1 else "1"
        raise ArgumentError("devices", f"this machine has {counted(available, kind)}, not {devices}; give {right}")
