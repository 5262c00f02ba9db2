"""`convwright explain`: what a trained network looks at, reuses and gates."""

from convwright.cli.main import LazyGroup

app = LazyGroup(
    "explain",
    {
        "cam": ("explain_cam:cam", "Map the evidence for a class in images."),
        "faithfulness": ("explain_cam:faithfulness", "Score such maps by deletion and insertion."),
        "reuse": ("explain_reuse:reuse", "Measure how dense blocks reuse feature maps."),
        "prune": ("explain_reuse:prune", "Cut the weakest dense connections."),
        "excitation": ("explain_excitation:excitation", "Measure squeeze-and-excitation by class."),
        "drop": ("explain_excitation:drop", "Take squeeze-and-excitation out step by step."),
    },
    help="Show what a trained network does, with the figures of the papers.",
)
