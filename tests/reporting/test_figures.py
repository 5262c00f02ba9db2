from collections.abc import Callable
from dataclasses import replace

import pytest

from convwright.display.figures import Figure
from convwright.reporting import Entry
from convwright.reporting.contents import figures
from convwright.reporting.curves import learning_curve_figure, learning_curves_of
from convwright.reporting.stages import stage_costs
from convwright.reporting.tradeoff import tradeoff
from convwright.training.run import Run


def accuracy_against_macs(entries: list[Entry]) -> Figure:
    return next(tradeoff(entries))


def test_the_figures_of_several_networks_and_of_one(entries: list[Entry]) -> None:
    assert [figure.name for figure in figures(entries)] == ["accuracy", "curves", "stages"]
    assert [figure.name for figure in figures(entries[:1])] == ["curves", "stages"]


def test_every_panel_says_in_words_what_it_shows(entries: list[Entry]) -> None:
    for figure in figures(entries):
        assert figure.caption.endswith(".")
        for panel in figure.panels:
            assert all(entry.title in panel.alt for entry in entries), panel.alt
            assert "%" in panel.alt or "loss" in panel.alt


def test_points_and_error_bars_are_the_measured_ones(entries: list[Entry]) -> None:
    plot = accuracy_against_macs(entries).panels[0].plot
    for entry, trace in zip(entries, plot.data[: len(entries)], strict=True):
        assert (trace.x[0], trace.y[0]) == (entry.cost.macs, entry.accuracy)
        assert trace.y[0] + trace.error_y.array[0] == pytest.approx(entry.interval[1])
        assert trace.y[0] - trace.error_y.arrayminus[0] == pytest.approx(entry.interval[0])


def test_macs_get_a_logarithmic_axis_where_they_spread(entries: list[Entry], entry: Callable[..., Entry]) -> None:
    small = entry("DenseNet-BC")
    large = replace(small, run=replace(small.run, network=replace(small.run.network, resolution=64)))
    axis = accuracy_against_macs([small, large]).panels[0].plot.layout.xaxis
    assert axis.type == "log"
    assert all(f"{mark:e}"[0] in "125" for mark in axis.tickvals)
    assert accuracy_against_macs([small, small]).panels[0].plot.layout.xaxis.type is None


def test_every_network_is_named_in_the_scatter_plot(entries: list[Entry]) -> None:
    figure = accuracy_against_macs(entries)
    assert [note.text for note in figure.panels[0].plot.layout.annotations] == [entry.title for entry in entries]


def test_names_without_room_are_told_in_the_caption(entry: Callable[..., Entry]) -> None:
    figure = accuracy_against_macs([entry("SE-ResNet", title=f"SE-ResNet number {index}") for index in range(9)])
    assert "There is no room for the names" in " ".join(figure.findings)


def test_only_networks_on_the_same_images_share_a_plot(entry: Callable[..., Entry]) -> None:
    apart = replace(entry("SE-ResNet"), split="val", images=143)
    assert not list(tradeoff([entry("DenseNet-BC"), apart]))
    figure = accuracy_against_macs([entry("DenseNet-BC"), apart, entry("EfficientNet")])
    assert "Only networks that were measured on the same images share a plot" in figure.caption
    (panel,) = figure.panels
    assert panel.heading == "Accuracy on 359 test images of digits"
    assert "SE-ResNet" not in panel.alt
    assert [trace.marker.color for trace in panel.plot.data[:2]] == ["var(--network-0)", "var(--network-2)"]


def test_the_front_leaves_out_who_is_beaten(entry: Callable[..., Entry]) -> None:
    names = sorted(("DenseNet-BC", "SE-ResNet", "EfficientNet"), key=lambda name: entry(name).cost.macs)
    fewest, middle, slow = (entry(name, right) for name, right in zip(names, (200, 190, 300), strict=True))
    figure = accuracy_against_macs([slow, middle, fewest])
    assert figure.facts[0]["front"] == [fewest.title, slow.title]
    assert f"{middle.title} is not: another network costs no more" in figure.findings[0]
    steps = figure.panels[0].plot.data[-1]
    assert list(steps.x) == [fewest.cost.macs, slow.cost.macs]


def test_curves_run_over_the_images_seen(entries: list[Entry]) -> None:
    accuracy, loss = (panel.plot for panel in learning_curves_of(entries).panels)
    assert len(accuracy.data) == len(loss.data) == 2 * len(entries)
    for entry, trace in zip(entries, accuracy.data[len(entries) :], strict=True):
        assert list(trace.y) == [row["val_accuracy"] for row in entry.run.metrics]
        steps = entry.run.metrics[-1]["step"]
        assert trace.x[-1] == steps * entry.run.config.batch_size
        assert "markers" in trace.mode


def test_a_run_with_a_single_validation_is_a_point(entry: Callable[..., Entry]) -> None:
    trace = learning_curves_of([entry("EfficientNet")]).panels[0].plot.data[1]
    assert len(trace.x) == 1
    assert "markers" in trace.mode


def test_a_network_has_one_colour_in_all_figures(entries: list[Entry]) -> None:
    scatter = accuracy_against_macs(entries).panels[0].plot
    curves = learning_curves_of(entries).panels[0].plot
    for index, trace in enumerate(scatter.data[: len(entries)]):
        assert trace.marker.color == curves.data[index].line.color == f"var(--network-{index})"
        assert trace.marker.symbol == curves.data[index + len(entries)].marker.symbol


def test_stages_add_up_to_the_whole(entries: list[Entry]) -> None:
    for panel in stage_costs(entries).panels:
        for row, entry in enumerate(entries):
            bars = [trace for trace in panel.plot.data if trace.y[0] == row]
            assert [bar.text for bar in bars] == [stage.name for stage in entry.cost.stages]
            assert sum(bar.x[0] for bar in bars) == pytest.approx(1)


def test_a_run_without_metrics_leaves_the_curves_out(unfinished: Entry, entries: list[Entry]) -> None:
    assert [figure.name for figure in figures([unfinished])] == ["stages"]
    assert len(learning_curves_of([*entries, unfinished]).panels[0].plot.data) == 2 * len(entries) + 2


def test_titles_cannot_pass_for_markup(entry: Callable[..., Entry]) -> None:
    pair = [entry("SE-ResNet", title="<b>bold</b>"), entry("DenseNet-BC")]
    for figure in figures(pair):
        for panel in figure.panels:
            assert "<b>bold" not in panel.plot.to_json()


def test_learning_curves_of_runs_are_one_figure_for_notebooks(runs: dict[str, Run], unfinished: Entry) -> None:
    single = learning_curve_figure([runs["DenseNet-BC"]])
    assert [axis.title.text for axis in (single.layout.xaxis, single.layout.xaxis2)] == ["training images seen"] * 2
    assert [trace.name for trace in single.data if trace.showlegend] == ["validation", "training"]
    validation = [row["val_accuracy"] for row in runs["DenseNet-BC"].metrics]
    assert list(single.data[1].y) == validation
    assert "var(" not in single.to_json()
    several = learning_curve_figure([*runs.values(), unfinished.run])
    assert [trace.name for trace in several.data if trace.showlegend][:4] == [*runs, "stopped run"]
