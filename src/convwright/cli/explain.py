"""`convwright explain`: what a trained network looks at, reuses and gates."""

import typer

from convwright.cli.explain_cam import cam

app = typer.Typer(help="Show what a trained network does, as the papers draw it.", no_args_is_help=True)
app.command("cam")(cam)
