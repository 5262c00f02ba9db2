"""`convwright studio`."""

from convwright.cli.generate import command
from convwright.studio_app.opening import studio as open_studio

studio = command(open_studio, name="studio", arguments=("folder",), show=lambda _: None)
