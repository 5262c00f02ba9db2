"""`convwright evaluate`."""

from convwright.api.prediction import evaluate as evaluate_run
from convwright.cli.generate import command

evaluate = command(evaluate_run, name="evaluate", arguments=("run",), html=True)
