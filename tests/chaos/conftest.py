"""Run as `make chaos TIMES=20` for long; one fault of each kind is part of `make test`."""

from collections.abc import Callable, Iterator

import pytest

from ..figures import print_figures
from .harness import Count


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--chaos-times", type=int, default=1, help="Kills, or full disks, of each command.")


@pytest.fixture
def times(request: pytest.FixtureRequest) -> int:
    """How often a command is killed or starved."""
    return int(request.config.getoption("--chaos-times", default=1) or 1)


@pytest.fixture
def record(record_property: Callable[[str, object], None]) -> Iterator[Count]:
    """What is counted during a test, printed at the end."""
    count = Count()
    print(f"seed {count.seed}")  # shown where the test fails
    yield count
    record_property("chaos", str(count))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.getoption("--chaos-times", default=1) != 1:
        print_figures(terminalreporter, "chaos")
