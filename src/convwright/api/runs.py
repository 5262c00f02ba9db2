"""A training run with everything that can be done with it as methods."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convwright.display.result import Block, Heading, Html, Lines, Result, Table
from convwright.display.wording import counted
from convwright.printable import printable
from convwright.training.records import measure_of
from convwright.training.run import Run as StoredRun

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from convwright.benchmarking.result import BenchResult
    from convwright.evaluation.multi_label_result import MultiLabelEvaluation
    from convwright.evaluation.result import Evaluation
    from convwright.explain.bound import RunExplanations
    from convwright.exporting.result import ExportResult
    from convwright.prediction.result import Predictions
    from convwright.reporting.report import Report


class Run(StoredRun, Result):
    """A run directory: configuration, network, metrics, summary and weights, with the operations on it as methods.

    Example:
        >>> run = cw.open_run("runs/digits")
        >>> run.network.name
        'cifar_resnet8|fit:8|channels:1'
    """

    @classmethod
    def from_stored(cls, run: StoredRun) -> "Run":
        """Return a stored run with these methods."""
        return run if isinstance(run, Run) else cls(run.path, run.config, run.network, run.classes, run.data)

    def evaluate(self, **options: Any) -> "Evaluation | MultiLabelEvaluation":
        """Measure the network on images; see `cw.evaluate` for the options."""
        from convwright.api.prediction import evaluate

        return evaluate(self, **options)

    def predict(self, images: Any, **options: Any) -> "Predictions":
        """Name the likeliest classes of images; see `cw.predict` for the options."""
        from convwright.api.prediction import predict

        return predict(self, images, **options)

    @property
    def explain(self) -> "RunExplanations":
        """Explanations of the network: `run.explain.cam(...)` and so on, as in `cw.explain`."""
        from convwright.explain.bound import RunExplanations

        return RunExplanations(self)

    def report(self, out: str | Path, **options: Any) -> "Report":
        """Write a page about the run; see `cw.report` for the options."""
        from convwright.api.reports import report

        return report([self], out, **options)

    def export(self, out: str | Path | None = None, **options: Any) -> "ExportResult":
        """Write the network as one verified file; see `cw.export` for the options."""
        from convwright.api.shipping import export

        return export(self, out, **options)

    def bench(self, **options: Any) -> "BenchResult":
        """Measure the latency in every engine; see `cw.bench` for the options."""
        from convwright.api.shipping import bench

        return bench([self], **options)

    def figure(self) -> "Figure":
        """Return the learning curves as a Plotly figure."""
        from convwright.reporting.curves import learning_curve_figure

        return learning_curve_figure([self])

    def to_dict(self) -> dict[str, object]:
        """Return the run directory, the summary if the run has ended, configuration, classes and metrics."""
        return {
            "run": str(self.path),
            "finished": self.finished,
            **(self.summary.to_dict() if self.finished else {}),
            "config": self.config.model_dump(mode="json"),
            "classes": list(self.classes),
            "metrics": list(self.metrics),
        }

    def blocks(self) -> Iterable[Block]:
        """Yield the summary, the validations, and in notebooks the learning curves."""
        rows = self.metrics
        if self.finished:
            yield Lines(self.headline())
        else:
            state = f"not finished: {counted(int(rows[-1]['step']), 'step')} so far" if rows else "not finished"
            yield Lines(f"{printable(self.network.name)}: {state}; resume it with `cw.resume({str(self.path)!r})`")
        if rows:
            yield Heading("Validations")
            yield Table(
                ("epoch", "step", "training loss", "validation loss", measure_of(rows[0])[0], "images/s", ""),
                [
                    (
                        f"{row['epoch']:.4g}",
                        f"{row['step']:.0f}",
                        f"{row['train_loss']:.4f}",
                        f"{row['val_loss']:.4f}",
                        f"{measure_of(row)[1]:.2%}",
                        f"{row['images_per_second']:,.0f}",
                        "best" if self.finished and row["step"] == self.summary.best_step else "",
                    )
                    for row in rows
                ],
                left=0,
            )

    def headline(self) -> str:
        """Return the result of a finished run in a sentence."""
        summary = self.summary
        return (
            f"{printable(summary.network)}: validation {summary.measure} {summary.score:.2%} on "
            f"{counted(summary.val_images, 'image')} after {summary.train_seconds / 60:.1f} minutes of training"
        )

    def _repr_html_(self) -> str:
        html = super()._repr_html_()
        from convwright.extras import installed

        if self.metrics and installed("plotly"):
            html += Html(self.figure().to_html(full_html=False, include_plotlyjs="cdn")).to_html()
        return html
