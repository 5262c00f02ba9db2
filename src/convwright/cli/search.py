"""`convwright scale search`."""

from convwright.api.scaling import search as run_search
from convwright.cli.generate import command

search = command(run_search, name="search", arguments=("base",), html=True)
