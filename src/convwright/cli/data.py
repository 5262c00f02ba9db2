"""`convwright data`."""

from convwright.api.data import survey
from convwright.cli.generate import command

data = command(survey, name="data", arguments=("data",), html=True)
