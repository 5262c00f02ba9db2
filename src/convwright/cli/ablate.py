"""`convwright ablate`."""

from convwright.api.designs import ablate as run_ablation
from convwright.cli.generate import command

ablate = command(run_ablation, name="ablate", arguments=("data",), html=True)
