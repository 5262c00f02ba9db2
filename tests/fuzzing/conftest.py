"""Run as `make fuzz MINUTES=10` for long; some seconds of the same are part of `make test`."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st

from ..figures import print_figures
from ..subjects import trained_run
from .harness import Count, fuzz


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz-minutes", type=float, default=0.0, help="Minutes of fuzzing, shared by the tests.")


@pytest.fixture(name="fuzz")
def _fuzz(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Callable[..., Count]:
    """Return a function that uses random inputs; what became of them is printed at the end."""
    minutes = request.config.getoption("--fuzz-minutes", default=0.0) or 0.0
    seconds = 60 * minutes / len(request.session.items)

    def run(inputs: st.SearchStrategy[Any], use: Callable[[Any], object], examples: int) -> Count:
        count = fuzz(inputs, use, seconds=seconds, examples=examples)
        record_property("fuzz", str(count))
        return count

    return run


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.getoption("--fuzz-minutes", default=0.0):
        print_figures(terminalreporter, "fuzz")


@pytest.fixture(scope="session")
def run():
    """A run of two epochs on the digits."""
    return trained_run()
