"""What the evaluations of all networks share: the run, its images, and those that it was trained on."""

from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from convwright.display.figure_result import FigureResult
from convwright.evaluation.overlap import Overlap


class _Measures(Protocol):
    @property
    def images(self) -> int: ...
    @property
    def loss(self) -> float: ...


M = TypeVar("M", bound=_Measures)
P = TypeVar("P")


@dataclass(frozen=True, eq=False)
class Evaluated(FigureResult, Generic[M, P]):
    """Measures and predictions of a run on images."""

    run: str
    """Path of the run."""
    network: str
    data: str
    """Folder, list or built-in data set of the images."""
    split: str
    """`test`, `val`, `train` or `all`."""
    views: tuple[str, ...]
    """Test-time augmentation views, over which probabilities are averaged."""
    class_names: tuple[str, ...]
    measures: M
    predictions: P = field(repr=False)
    """The prediction for each image."""
    own_data: bool = True
    """Whether the images are from the run's own data."""
    augmented: bool = False
    """Whether test-time augmentation was requested."""
    overlap: Overlap = field(default=Overlap(), repr=False)
    """The images that the run was trained on."""

    @property
    def images(self) -> int:
        """Number of images."""
        return self.measures.images

    @property
    def title(self) -> str:
        """Heading of a page that shows the result."""
        return f"Evaluation of {self.network}"

    def described(self) -> dict[str, Any]:
        """Return run, network, data, split and views, and the number of images that the run was trained on."""
        return {
            "run": self.run,
            "network": self.network,
            "data": self.data,
            "split": self.split,
            "views": list(self.views),
            "training_images": self.overlap.images,
        }
