"""The options of `convwright train` that say how weights are learnt, in the groups that its help shows."""

from typing import Annotated, Any

import typer


def _option(group: str, text: str, *names: str) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=group)


_RECIPE, _IMAGES, _START = "Recipe", "Augmentation of training images", "Weights that are trained already"

Fused = Annotated[
    bool | None,
    typer.Option(
        "--fused/--no-fused", help="Operators compiled for this machine's CPU; by default with --memory-efficient."
    ),
]
MemoryEfficient = Annotated[
    bool | None,
    typer.Option(
        "--memory-efficient/--no-memory-efficient", help="Keep less for the backward pass: dense blocks take far less."
    ),
]

RecipeName = Annotated[
    str | None,
    _option(_RECIPE, "densenet, senet, efficientnet: as the papers trained; fast: most for the time. Options win."),
]
LearningRate = Annotated[float | None, _option(_RECIPE, "Highest learning rate.", "--learning-rate", "--lr")]
FindLr = Annotated[bool, _option(_RECIPE, "Find the highest learning rate by a test of 100 steps.", "--find-lr")]
Optimizer = Annotated[str | None, _option(_RECIPE, "sgd, adamw or rmsprop.")]
Momentum = Annotated[float | None, _option(_RECIPE, "Of SGD and RMSprop; the first beta of AdamW.")]
Nesterov = Annotated[bool | None, _option(_RECIPE, "Nesterov's momentum in SGD, or the plain one.")]
WeightDecay = Annotated[float | None, _option(_RECIPE, "On weights of convolutions and linear layers only.")]
Schedule = Annotated[str | None, _option(_RECIPE, "one-cycle, cosine, step, exponential or constant.")]
Milestones = Annotated[
    list[float] | None,
    _option(_RECIPE, "Share of all steps after which step divides the rate by ten; may be repeated.", "--milestone"),
]
WarmUp = Annotated[float | None, _option(_RECIPE, "Share of all steps in which the rate rises.")]
LabelSmoothing = Annotated[float | None, _option(_RECIPE, "Share of each label spread over all classes.")]
ClassWeights = Annotated[str | None, _option(_RECIPE, "balanced: rare classes count more; or none.")]
Accumulate = Annotated[int | None, _option(_RECIPE, "Pieces into which a batch is cut, to fit the memory.")]
ClipNorm = Annotated[float | None, _option(_RECIPE, "Largest norm of the gradient.")]
Ema = Annotated[float | None, _option(_RECIPE, "Decay of the weights' moving average, which is kept; 0: none.")]
Progressive = Annotated[float | None, _option(_RECIPE, "Share of all steps in which images grow from half size.")]
NormMomentum = Annotated[
    float | None, _option(_RECIPE, "Of all batch normalisations: share of a batch in the running statistics.")
]
Dropout = Annotated[float | None, _option(_RECIPE, "Rate before the classifier; the network's own by default.")]
StochasticDepth = Annotated[float | None, _option(_RECIPE, "Rate at which the last residual branch is skipped.")]
Patience = Annotated[int | None, _option(_RECIPE, "Stop after so many validations without a better one.")]

Crop = Annotated[int | None, _option(_IMAGES, "Pixels of padding for random crops.")]
Flip = Annotated[bool | None, _option(_IMAGES, "Mirror half of the images.", "--flip/--no-flip")]
RandAugment = Annotated[int | None, _option(_IMAGES, "Magnitude, up to 30, of two random operations.", "--randaugment")]
Erasing = Annotated[float | None, _option(_IMAGES, "Share of the images of which a rectangle is erased.")]
Mixup = Annotated[float | None, _option(_IMAGES, "Mix images by a share from Beta(x, x).")]
CutMix = Annotated[
    float | None, _option(_IMAGES, "Paste a rectangle of another image, area from Beta(x, x).", "--cutmix")
]

Weights = Annotated[
    str | None, _option(_START, "Begin with these: pretrained, torchvision, timm, a file of weights, or a run.")
]
Freeze = Annotated[
    bool | None, _option(_START, "Train the classifier alone, from features that are computed once.", "--freeze")
]
BackboneRate = Annotated[
    float | None, _option(_START, "Learning rate of all but the classifier, as a share of the classifier's.")
]

TensorBoard = Annotated[
    bool, _option("Tracking", "Write event files to the run directory's folder tensorboard.", "--tensorboard")
]
MLflow = Annotated[
    str | None, _option("Tracking", "Log to this MLflow tracking store, e.g. http://... or sqlite:///mlflow.db.")
]
