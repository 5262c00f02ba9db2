"""`convwright scale`: compound scaling under a budget, and on data."""

from convwright.api.scaling import plan as make_plan
from convwright.cli.generate import command
from convwright.cli.main import LazyGroup

app = LazyGroup(
    "scale",
    {
        "plan": ("scale:plan", "Find the largest network within a budget."),
        "search": ("search:search", "Find alpha, beta and gamma on your data."),
        "family": ("family:family", "Scale by phi = 0, 1, 2, ..., and train the family."),
        "work": ("work:work", ""),
    },
    help="Scale a network in depth, width and resolution together.",
)
plan = command(make_plan, name="plan", arguments=("base",))
