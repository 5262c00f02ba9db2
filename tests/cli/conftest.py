"""Run the command line inside the test's process."""

import sys
from dataclasses import dataclass

import pytest

from convwright.cli.main import main


@dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """What is said of an error: the last line of standard error, which must be the tool's own."""
        line = self.err.strip().splitlines()[-1]
        assert line.startswith("convwright: ")
        assert "Traceback" not in self.err
        return line


@pytest.fixture
def convwright(monkeypatch, capsys):
    """Call as convwright("show", "resnet18"); gives the exit status and what was printed."""

    monkeypatch.setenv("COLUMNS", "120")  # what is shown must not depend on who runs the tests

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["convwright", *map(str, arguments)])
        capsys.readouterr()
        try:
            status = main()
        except SystemExit as end:
            status = end.code
        printed = capsys.readouterr()
        return Outcome(int(status or 0), printed.out, printed.err)

    return run
