"""`convwright serve`."""

from convwright.api.serving import serve as serve_models
from convwright.cli.generate import command

serve = command(serve_models, name="serve", arguments=("models",), show=lambda _: None)
