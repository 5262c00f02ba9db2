"""`convwright models`."""

from convwright.api.networks import models as list_models
from convwright.cli.generate import command

models = command(list_models, name="models", arguments=("pattern",))
