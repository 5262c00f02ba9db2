"""`convwright bench`."""

from typing import TYPE_CHECKING

from convwright.api.shipping import bench as bench_networks
from convwright.cli.generate import command

if TYPE_CHECKING:
    from convwright.benchmarking.result import BenchResult


def _check(result: "BenchResult") -> None:
    result.check()


bench = command(bench_networks, name="bench", arguments=("networks",), html=True, after=_check)
