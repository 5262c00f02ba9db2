"""The fields of a request to train as keyword arguments, so that editors complete them and type checkers check them."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from convwright.arch import Network
    from convwright.data.opened import Data


class TrainOptions(TypedDict, total=False):
    """Keyword arguments of `cw.train` and `cw.prepare`: the fields of `cw.TrainRequest`, which describes them.

    None leaves a field open, as if it were not given; for `norm_momentum` it keeps the network's own.
    """

    optimizer: Literal["sgd", "adamw", "rmsprop", "muon"] | None
    learning_rate: float | None
    momentum: float | None
    nesterov: bool | None
    weight_decay: float | None
    schedule: Literal["one-cycle", "cosine", "step", "exponential", "constant"] | None
    milestones: tuple[float, ...] | None
    warm_up: float | None
    label_smoothing: float | None
    class_weights: Literal["none", "balanced", "effective"] | None
    effective_beta: float | None
    focal: float | None
    distillation: float | None
    temperature: float | None
    sampling: Literal["uniform", "balanced"] | None
    accumulate: int | None
    ema: float | None
    patience: int | None
    progressive: float | None
    dropout: float | None
    freeze: bool | None
    freeze_epochs: float | None
    unfrozen_rate: float | None
    backbone_rate: float | None
    layer_decay: float | None
    freeze_norm: bool | None
    stochastic_depth: float | None
    clip_norm: float | None
    norm_momentum: float | None
    crop: int | None
    crop_scale: float | None
    crop_ratio: float | None
    rotation: float | None
    brightness: float | None
    contrast: float | None
    saturation: float | None
    hue: float | None
    flip: bool | None
    randaugment: int | None
    trivialaugment: bool | None
    erasing: float | None
    mixup: float | None
    cutmix: float | None
    weights: str | None
    teacher: str | None
    epochs: float | None
    seed: int | None
    split_seed: int | None
    val_share: float | None
    duplicates: Literal["together", "apart"] | None
    folds: int | None
    fold: int | None
    resize: Literal["crop", "pad", "squash"] | None
    max_bad: float | None
    path_column: str | None
    label_column: str | None
    split_column: str | None
    group_column: str | None
    weight_column: str | None
    label_separator: str | None
    devices: int | None
    sync_norm: bool | None
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "auto"] | None
    tf32: bool | None
    compile: bool | None
    cuda_graphs: bool | None
    fused: bool | None
    memory_efficient: bool | None
    data: "str | Path | Data | None"
    network: "str | Network | None"
    recipe: Literal["densenet", "senet", "efficientnet", "fast", "fine-tune"] | None
    minutes: float | None
    batch_size: int | Literal["auto"] | None
    resolution: "int | tuple[int, int] | str | None"
    out: Path | None
    cache_gb: float | None
    workers: int | None
    checkpoint_every: float | None
    cluster: str | None
    cores_per_task: int | None
    fit: bool | None
    find_lr: bool | None
    tensorboard: bool | None
    mlflow: str | None
