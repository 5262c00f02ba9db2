"""The functions of `convwright.explain`, bound to one run: `run.explain.cam("holiday.jpg")`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from convwright.brief import Brief
from convwright.explain import functions

if TYPE_CHECKING:
    from convwright.data import Split
    from convwright.data.opened import Data
    from convwright.explain.activation import Target
    from convwright.explain.cam_result import ClassActivation
    from convwright.explain.drop_result import DropResult
    from convwright.explain.excitation_result import Excitations
    from convwright.explain.faithfulness_result import Faithfulness
    from convwright.explain.reuse_result import Pruning, Reuse
    from convwright.prediction.image_files import AnyImages
    from convwright.training.run import Run


class RunExplanations(Brief):
    """Explanations of one run.

    Args:
        run: The run.
    """

    def __init__(self, run: "Run") -> None:
        self.run = run

    def repr_fields(self) -> dict[str, object]:
        """Return what `repr` shows."""
        return {"path": self.run.path, "network": self.run.network.name}

    def cam(
        self,
        images: "AnyImages | Split | Data | None" = None,
        *,
        data: "Data | str | Path | None" = None,
        count: int | None = None,
        method: functions.Method | None = None,
        layer: str | None = None,
        target: "Target" = None,
        show: int = 8,
        batch_size: int | None = None,
        device: str = "auto",
    ) -> "ClassActivation":
        """Map the evidence for a class in images; see `convwright.explain.cam`."""
        return functions.cam(
            self.run,
            images,
            data=data,
            count=count,
            method=method,
            layer=layer,
            target=target,
            show=show,
            batch_size=batch_size,
            device=device,
        )

    def faithfulness(
        self,
        maps: "ClassActivation",
        *,
        steps: int = 32,
        removed: functions.Removed = "mean",
        batch_size: int | None = None,
    ) -> "Faithfulness":
        """Score maps by deletion and insertion; see `convwright.explain.faithfulness`."""
        return functions.faithfulness(self.run, maps, steps=steps, removed=removed, batch_size=batch_size)

    def reuse(self, *, with_norm: bool = False, device: str = "auto") -> "Reuse":
        """Measure feature reuse in dense blocks; see `convwright.explain.reuse`."""
        return functions.reuse(self.run, with_norm=with_norm, device=device)

    def prune(
        self,
        shares: float | Sequence[float],
        *,
        with_norm: bool = False,
        draws: int = 3,
        split: functions.SplitName = "val",
        device: str = "auto",
    ) -> "Pruning":
        """Cut the weakest dense connections and measure the accuracy; see `convwright.explain.prune`."""
        return functions.prune(self.run, shares, with_norm=with_norm, draws=draws, split=split, device=device)

    def excitations(
        self,
        *,
        classes: str | Sequence[str] | None = None,
        threshold: float = 0.9,
        split: functions.SplitName = "val",
        device: str = "auto",
    ) -> "Excitations":
        """Measure the factors of squeeze-and-excitation by class; see `convwright.explain.excitations`."""
        return functions.excitations(self.run, classes=classes, threshold=threshold, split=split, device=device)

    def drop(
        self, *, by: Literal["stages", "blocks"] = "stages", split: functions.SplitName = "val", device: str = "auto"
    ) -> "DropResult":
        """Take squeeze-and-excitation out step by step; see `convwright.explain.drop`."""
        return functions.drop(self.run, by=by, split=split, device=device)
