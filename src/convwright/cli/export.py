"""`convwright export`."""

from convwright.api.shipping import export as export_network
from convwright.cli.generate import command

export = command(export_network, name="export", arguments=("run",))
