"""Several processes that train one network: who they are, and what they tell each other.

Each has a copy of the network and a share of every batch; gradients are averaged by Lightning Fabric's DDP. What is
written and shown is left to the first. With the same global batch the weights equal one process's up to rounding;
dropout and stochastic depth draw differently in each process, but the same in each repetition.
"""

import logging
import os

import torch
from lightning_fabric import Fabric

from convwright.errors import UsageError
from convwright.training.config import TrainConfig

logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # the precision was asked for, and is in config.yaml


class Devices:
    """The processes of a run, this one among them."""

    def __init__(self, config: TrainConfig) -> None:
        self.size = world_size()
        if config.devices != self.size:
            raise UsageError(
                f"devices is {config.devices}, and {self.size} processes take part; "
                "'convwright train --devices' or torchrun starts as many as are wanted"
            )
        if self.size == 1:
            self.fabric = Fabric(accelerator="auto", devices=1, precision=config.precision)
            return
        check_batch(config.batch_size, self.size)
        local = int(os.environ.get("LOCAL_WORLD_SIZE", self.size))
        self.fabric = Fabric(
            accelerator="auto",
            devices=local,
            num_nodes=self.size // local,
            strategy="ddp",
            precision=config.precision,
        )
        self.fabric.launch()

    @property
    def rank(self) -> int:
        """The number of this process, from 0."""
        return self.fabric.global_rank

    @property
    def leads(self) -> bool:
        """Is this the process that writes and shows?"""
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

    def wait(self) -> None:
        """Wait for all others to come here."""
        if self.size > 1:
            self.fabric.barrier()


def world_size() -> int:
    """Return how many processes take part, as the launcher (ours, or torchrun) says; 1 without any."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "LOCAL_RANK" in os.environ else 1


def leads() -> bool:
    """Is this the first process, or the only one?"""
    return world_size() == 1 or os.environ.get("RANK", "0") == "0"


def check_batch(batch_size: int, devices: int) -> None:
    """UsageError if some process would get no image."""
    if batch_size < devices:
        raise UsageError(f"a batch of {batch_size} cannot be shared by {devices} devices; give a larger --batch-size")


def check_devices(devices: int) -> None:
    """UsageError if this machine has fewer GPUs, or without any, fewer processors."""
    gpus = torch.cuda.device_count()
    there, what = (gpus, "GPUs") if gpus else (len(os.sched_getaffinity(0)), "processor cores")
    if not 1 <= devices <= there:
        raise UsageError(f"--devices {devices}: this machine has {there} {what}; take 1 to {there}")
