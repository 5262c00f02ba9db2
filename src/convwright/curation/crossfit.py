"""Cross-fitted predictions: the classes of each image by models that were not trained on it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from convwright.brief import Brief
from convwright.curation.folds import are_judgeable, assign_folds
from convwright.curation.neighbours import NEIGHBOURS, Neighbours, joined, nearest, reduced
from convwright.curation.pool import Pool
from convwright.data import Split
from convwright.data.batches import evaluation_batches
from convwright.data.threads import Progress
from convwright.seeds import derive
from convwright.training.allocator import kept_memory
from convwright.training.backbone import Backbone, split
from convwright.training.operator_choice import choose_operators
from convwright.training.plan import plan
from convwright.training.preparation import make_learner, training_batches
from convwright.training.process_state import preserved_process_state
from convwright.training.recipes import RecipeName
from convwright.zoo.reading import read_network

NETWORK = "cifar_resnet8"
"""The small network that is trained where no published one suits the images."""
RECIPE: RecipeName = "fast"
TRAINING_IMAGES_PER_FOLD, FEWEST_EPOCHS, MOST_EPOCHS = 160_000, 4, 40
"""Images of `SIDE` pixels that each fold's network is trained on, counting repetitions, and the limits of its epochs.
Of larger images there are fewer, so that they take as long."""
SIDE = 32
BATCH = 64
DECAYS = (1e-3, 1e-2, 1e-1)
"""Weight decays of the softmax regression, for features of mean 0 and standard deviation 1; that with the best
probabilities for the first fold is taken."""
ITERATIONS = 60
MOST_VALUES, FEWEST_VALUES, SAMPLE = 2**27, 64, 4096
"""Most values of features that are kept, which limits the memory to 512 MB (and their fewest for each image); where
networks give more, their principal directions in a sample of images are kept."""


@dataclass(frozen=True)
class CrossFit(Brief):
    """Predictions for all images of a pool."""

    probabilities: np.ndarray
    """N x classes, float32. Test images: the mean over the models of all folds, none of which has seen them."""
    judgeable: np.ndarray
    """bool N: whether the models that predicted an image had been trained on enough images of its class."""
    neighbours: Neighbours | None = None
    """Neighbours of each image by features of a network that was not trained on it; None: no network was trained."""


def cross_fit_network(pool: Pool, folds: int, seed: int, progress: Progress | None = None) -> CrossFit:
    """Train a small network for each fold on the other folds, and predict the fold with it.

    The neighbours of the fold's images are those by the features of the same network: it was not trained on the images'
    own labels, which may be wrong. Neighbours of test images are those by the first network.

    Args:
        pool: The images. Test images are never trained on.
        folds: Number of folds.
        seed: Seed of folds, weights and batches.
        progress: Called with the number of steps done, their total and a description.
    """
    learnable, fold_of = pool.learnable, assign_folds(pool, folds, seed)
    total = np.zeros((len(pool), len(pool.data.classes)), np.float32)
    network_of = np.maximum(fold_of, 0)
    neighbours = []
    with preserved_process_state():
        for fold in range(folds):
            seen = torch.from_numpy(learnable[fold_of[learnable] != fold])
            held = torch.from_numpy(np.flatnonzero((fold_of == fold) | (fold_of < 0)))
            module = _trained(pool, seen, held, fold, folds, seed, progress)
            total[held.numpy()] += probabilities_of(module, pool, pool.images.choose(held))
            vectors = reduced(features_of(split(module)[0], pool, progress), seed)
            rows = np.flatnonzero(network_of == fold)
            neighbours.append(nearest(vectors, NEIGHBOURS, progress, rows=rows, seed=seed))
    total[fold_of < 0] /= folds
    return CrossFit(total, are_judgeable(pool.labels, fold_of), joined(neighbours, network_of))


def _trained(
    pool: Pool, seen: torch.Tensor, held: torch.Tensor, fold: int, folds: int, seed: int, progress: Progress | None
) -> nn.Module:
    data = replace(pool.data, train=pool.images.choose(seen), val=pool.images.choose(held[:1]))
    training_images = TRAINING_IMAGES_PER_FOLD * min(1.0, SIDE**2 / (data.size[0] * data.size[1]))
    epochs = min(max(training_images / len(seen), FEWEST_EPOCHS), MOST_EPOCHS)
    config, network = plan(
        data, read_network(NETWORK), name=RECIPE, epochs=epochs, seed=derive(seed, "curation", fold) % 2**31
    )
    if not torch.cuda.is_available():
        config = config.model_copy(
            update={"fused": choose_operators(network, config.batch_size, config.precision).fused}
        )
    learner, batches = make_learner(config, network, data), training_batches(config, data)
    steps = max(1, round(epochs * batches.steps_per_epoch))
    learner.train()
    for step in range(steps):
        learner.train_step(*batches.at(step), step, steps)
        if progress:
            progress(fold * steps + step + 1, folds * steps, "training small networks")
    return learner.result


@torch.no_grad()
def probabilities_of(module: nn.Module, pool: Pool, split: Split) -> np.ndarray:
    """Return the probabilities of a network's classes, N x classes, float32."""
    module.eval()
    found = [_outputs(module, images).softmax(1) for images, _ in evaluation_batches(split, pool.data, BATCH)]
    return torch.cat(found).numpy()


@torch.no_grad()
def features_of(backbone: Backbone, pool: Pool, progress: Progress | None = None, seed: int = 0) -> np.ndarray:
    """Return the features of all images of a pool, N x D, float32.

    Of large data sets the principal directions are returned, so that the memory is bounded.

    Args:
        backbone: Layers that map images to features.
        pool: The images.
        progress: Called with the number of images done, their total and a description.
        seed: Seed of the images from which principal directions are computed.
    """
    backbone.eval()
    infer = backbone.inference()
    found: np.ndarray | None = None
    directions: torch.Tensor | None = None
    done = 0
    with kept_memory():
        for images, _ in evaluation_batches(pool.images, pool.data, BATCH):
            some = infer(images).cpu().flatten(1)
            if found is None:
                kept = max(FEWEST_VALUES, MOST_VALUES // len(pool))
                if some.shape[1] > kept:
                    directions = _directions(infer, pool, kept, seed)
                    some = some @ directions
                found = np.empty((len(pool), some.shape[1]), np.float32)
            elif directions is not None:
                some = some @ directions
            found[done : done + len(some)] = some.numpy()
            done += len(some)
            if progress:
                progress(done, len(pool), "computing features")
    assert found is not None, "a data set has images"
    return found


def _outputs(module: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return what a module computes of images on its device, in memory, float32."""
    device = next(module.parameters(), images).device
    found: torch.Tensor = module(images.to(device).contiguous(memory_format=torch.channels_last)).float()
    return found.cpu()


def _directions(infer: Callable[[torch.Tensor], torch.Tensor], pool: Pool, count: int, seed: int) -> torch.Tensor:
    """Return the first principal directions of the features of a sample, D x `count`."""
    order = np.random.default_rng(derive(seed, "curation sample")).permutation(len(pool))
    sample = pool.images.choose(torch.from_numpy(np.sort(order[:SAMPLE])))
    values = torch.cat([infer(images).cpu().flatten(1) for images, _ in evaluation_batches(sample, pool.data, BATCH)])
    centred = values - values.mean(0)
    _, vectors = torch.linalg.eigh(centred.T @ centred)  # eigenvalues ascend
    kept: torch.Tensor = vectors[:, -count:].contiguous()
    return kept


def cross_fit_regression(
    features: np.ndarray, pool: Pool, folds: int, seed: int, progress: Progress | None = None
) -> CrossFit:
    """Predict each fold by a softmax regression on the features of the other folds.

    Args:
        features: N x D, of all images of the pool.
        pool: The images. Test images are never trained on.
        folds: Number of folds.
        seed: Seed of the folds.
        progress: Called with the number of folds done, their total and a description.
    """
    learnable, fold_of = pool.learnable, assign_folds(pool, folds, seed)
    values = torch.from_numpy(standardised(features, learnable))
    labels = torch.from_numpy(pool.labels)
    classes = len(pool.data.classes)
    total = np.zeros((len(pool), classes), np.float32)
    decay = _best_decay(values, labels, torch.from_numpy(fold_of), classes)
    for fold in range(folds):
        seen = torch.from_numpy(learnable[fold_of[learnable] != fold])
        held = torch.from_numpy(np.flatnonzero((fold_of == fold) | (fold_of < 0)))
        weight, bias = softmax_regression(values[seen], labels[seen], classes, decay)
        total[held.numpy()] += (values[held] @ weight + bias).softmax(1).numpy()
        if progress:
            progress(fold + 1, folds, "predicting classes")
    total[fold_of < 0] /= folds
    return CrossFit(total, are_judgeable(pool.labels, fold_of))


def _best_decay(values: torch.Tensor, labels: torch.Tensor, fold_of: torch.Tensor, classes: int) -> float:
    """Return the weight decay whose probabilities of the first fold's labels are the best."""
    seen, held = fold_of > 0, fold_of == 0

    def loss(decay: float) -> float:
        weight, bias = softmax_regression(values[seen], labels[seen], classes, decay)
        return float(nn.functional.cross_entropy(values[held] @ weight + bias, labels[held]))

    return min(DECAYS, key=loss)


def standardised(features: np.ndarray, learnable: np.ndarray) -> np.ndarray:
    """Return features with the mean 0 and the standard deviation 1 of the learnable images, float32."""
    known = features[learnable].astype(np.float32)
    spread = known.std(0)
    standard: np.ndarray = (features - known.mean(0)) / np.where(spread > 0, spread, 1)
    return standard


def softmax_regression(
    values: torch.Tensor, labels: torch.Tensor, classes: int, decay: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Fit a softmax regression with weight decay.

    Args:
        values: N x D, float32.
        labels: int64, N.
        classes: Number of classes.
        decay: Weight decay.

    Returns:
        Weights D x classes, and biases.
    """
    weight = torch.zeros(values.shape[1], classes, requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=ITERATIONS, history_size=10, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(values @ weight + bias, labels) + decay / 2 * weight.square().sum()
        loss.backward()
        return loss.item()

    with torch.enable_grad():
        optimizer.step(closure)
    return weight.detach(), bias.detach()
