"""Distillation: a network that learns the predictions of a trained one, its teacher, beside the labels.

The loss of Hinton et al. (2015): the share `distillation` of it is the divergence of the student's class probabilities
from the teacher's, both softened by `temperature` and multiplied by its square; the rest is the loss of the labels. The
teacher sees the same augmented images. Its weights are kept in the run directory, so that a run can be resumed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn
from torch.nn import functional

from convwright import json_text
from convwright.arch import Network
from convwright.arch.resolution import sides
from convwright.data import Dataset
from convwright.errors import ConvwrightError, RunError, UsageError
from convwright.modules import build
from convwright.printable import printable
from convwright.training.run import Run
from convwright.weights.reading import Tensors, read_tensors


@dataclass(frozen=True)
class Teacher:
    """A trained network, as a run directory keeps it."""

    network: Network
    tensors: Tensors
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """Normalisation of its images, on the scale 0 to 1."""
    source: str

    @classmethod
    def of_run(cls, run: Run) -> "Teacher":
        """Return the network of a run with its best weights.

        Raises:
            RunError: The run has no weights yet, or is damaged.
        """
        tensors = read_tensors(run.existing_weights())
        return cls(run.network, tensors, run.classes, tuple(run.data.mean), tuple(run.data.std), str(run.path))

    @classmethod
    def read(cls, path: Path) -> "Teacher":
        """Read what `to_bytes` returned.

        Raises:
            RunError: The file is damaged, or holds no teacher.
        """
        tensors = read_tensors(path)
        try:
            with safe_open(path, "pt") as file:
                facts = json_text.parse((file.metadata() or {})["teacher"], path, RunError)
            network = Network.from_json(facts["network"])
            return cls(
                network, tensors, tuple(facts["classes"]), tuple(facts["mean"]), tuple(facts["std"]), facts["source"]
            )
        except (SafetensorError, ConvwrightError, LookupError, TypeError, ValueError) as error:
            raise RunError(f"{path}: holds no teacher ({error})") from None

    def to_bytes(self) -> bytes:
        """Return the content of a safetensors file from which `read` makes an equal teacher."""
        facts = {
            "network": self.network.to_json(),
            "classes": self.classes,
            "mean": self.mean,
            "std": self.std,
            "source": self.source,
        }
        tensors = {name: tensor.contiguous() for name, tensor in self.tensors.items()}
        return save(tensors, {"teacher": json_text.dump(facts)})

    def check(self, data: Dataset) -> None:
        """Check that it predicts the classes of some images.

        Raises:
            UsageError: It has other classes or channels.
        """
        if self.classes != data.classes:
            one, other = (_named(names) for names in (self.classes, data.classes))
            raise UsageError(f"{self.source} has other classes ({one}) than the images ({other})")
        if self.network.channels != data.channels:
            raise UsageError(
                f"{self.source} reads images of {self.network.channels} channels, not of {data.channels} as these are"
            )

    def module(self, mean: Sequence[float], std: Sequence[float]) -> "TeacherModule":
        """Return a module that reads images which are normalised otherwise.

        Args:
            mean: Mean of each channel of the images' normalisation, on the scale 0 to 1.
            std: Standard deviation of each channel.
        """
        return TeacherModule(self, mean, std)


class TeacherModule(nn.Module):
    """A teacher in evaluation mode, which reads the images of a student."""

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, teacher: Teacher, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = build(teacher.network, seed=0)
        try:
            self.network.load_state_dict(teacher.tensors)
        except RuntimeError as error:
            first = str(error).splitlines()[0]
            raise RunError(f"{teacher.source}: the weights do not fit the network: {first:.160}") from None
        self.size = sides(teacher.network.resolution)
        ours, theirs = (torch.tensor([each, other]) for each, other in ((mean, std), (teacher.mean, teacher.std)))
        self.register_buffer("scale", (ours[1] / theirs[1]).view(1, -1, 1, 1))
        self.register_buffer("shift", ((ours[0] - theirs[0]) / theirs[1]).view(1, -1, 1, 1))
        self.requires_grad_(False).eval().to(memory_format=torch.channels_last)

    @torch.no_grad()
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits, N x K, of images as the student reads them, N x C x H x W."""
        images = images * self.scale + self.shift
        if tuple(images.shape[2:]) != self.size:
            images = functional.interpolate(images, self.size, mode="bilinear", antialias=True, align_corners=False)
        logits: torch.Tensor = self.network(images.contiguous(memory_format=torch.channels_last))
        return logits


def divergence(logits: torch.Tensor, taught: torch.Tensor, temperature: float, *, multi_label: bool) -> torch.Tensor:
    """Return how far a student's softened probabilities are from its teacher's, for each image.

    Args:
        logits: Of the student, N x K.
        taught: Of the teacher, N x K.
        temperature: What both are divided by.
        multi_label: Whether each class has a probability of its own; their divergences are added up.

    Returns:
        Kullback-Leibler divergences times the square of the temperature, so that gradients keep their size.
    """
    student, teacher = logits.float() / temperature, taught.float() / temperature
    if multi_label:
        share = teacher.sigmoid()
        each = share * (functional.logsigmoid(teacher) - functional.logsigmoid(student))
        each = each + (1 - share) * (functional.logsigmoid(-teacher) - functional.logsigmoid(-student))
    else:
        each = teacher.softmax(1) * (teacher.log_softmax(1) - student.log_softmax(1))
    return each.sum(1) * temperature**2


def find_teacher(spec: str) -> Teacher:
    """Return the teacher of a request.

    Args:
        spec: A run directory, or the file of a run that was distilled itself.

    Raises:
        UsageError: There is no such run, or it has no weights.
    """
    path = Path(spec).expanduser()
    return Teacher.read(path) if path.is_file() and path.name == Run.TEACHER else Teacher.of_run(Run.open(path))


def teacher_file(teacher: Teacher | None) -> dict[str, bytes]:
    """Return the file that keeps a teacher in a run directory."""
    return {} if teacher is None else {Run.TEACHER: teacher.to_bytes()}


def teacher_of(run: Run) -> Teacher | None:
    """Return the teacher of a run, or None if it learns from labels alone.

    Raises:
        RunError: The file is missing or damaged.
    """
    if run.config.teacher is None:
        return None
    if not (path := run.path / Run.TEACHER).is_file():
        raise RunError(f"{path}: missing; the run learns from it")
    return Teacher.read(path)


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name) for name in names[:3])
    return f"{shown}, ..." if len(names) > 3 else shown
