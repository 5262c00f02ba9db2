"""Right and wrong keyword arguments, which `make types` tells apart: an unused comment is an error to it, too."""

import convwright as cw

cw.train("digits", epochs=2, milestones=(0.5,), network=cw.network("resnet18"))
cw.train("digits", epohcs=2)  # type: ignore[call-arg]
cw.prepare("digits", optimizer="adam")  # type: ignore[arg-type]
