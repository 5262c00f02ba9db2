"""The page of `bench`: times by engine beside the machine's floor, in one HTML file."""

from pathlib import Path
from typing import TYPE_CHECKING

from convwright.benchmarking.figures import panel, precision_keys
from convwright.benchmarking.network_bench import BenchRow, NetworkBench
from convwright.display.pages import write_html
from convwright.display.wording import count, percent, short_milliseconds, size

if TYPE_CHECKING:
    from convwright.benchmarking.result import BenchResult


def write_page(path: Path, result: "BenchResult") -> None:
    """Write a benchmark as one self-contained page, completely or not at all.

    Args:
        path: The file; it is replaced if it exists.
        result: The benchmark.
    """
    write_html(
        path,
        "bench.html.j2",
        package="convwright.benchmarking",
        title=result.title,
        summary=result.summary,
        machines=result.machines.values(),
        networks=[(one, panel(one), [_cells(one, row) for row in one.rows]) for one in result.networks],
        precisions=precision_keys(result.networks),
        count=count,
    )


def _cells(network: NetworkBench, row: BenchRow) -> list[str]:
    setting, result = row.setting, row.measurement
    first = [setting.engine, setting.precision, str(setting.batch), str(setting.threads or "GPU")]
    if result.problem:
        return [*first, "–", "–", "–", "–", "–", *(["–"] if network.accuracy_on else []), result.problem]
    floor = network.floor(setting)
    return [
        *first,
        short_milliseconds(result.median),
        short_milliseconds(result.p95),
        f"{result.throughput:,.1f}",
        "–" if result.memory_bytes is None else size(result.memory_bytes),
        "–" if floor is None else f"{result.median / floor:.2f}",
        *([] if not network.accuracy_on else ["–" if row.accuracy is None else percent(row.accuracy)]),
        f"the machine was busy: {result.doubt}" if result.doubt else "",
    ]
