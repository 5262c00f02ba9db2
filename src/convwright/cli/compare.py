"""`convwright compare`."""

from convwright.api.prediction import compare as compare_runs
from convwright.cli.generate import command

compare = command(compare_runs, name="compare", arguments=("first", "second"))
