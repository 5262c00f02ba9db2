"""`convwright explain`: what a trained network looks at, reuses and gates."""

import typer

from convwright.cli.explain_cam import cam
from convwright.cli.explain_excitation import excitation
from convwright.cli.explain_reuse import reuse

app = typer.Typer(help="Show what a trained network does, as the papers draw it.", no_args_is_help=True)
app.command("cam")(cam)
app.command("reuse")(reuse)
app.command("excitation")(excitation)
