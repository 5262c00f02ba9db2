"""Out-of-distribution scores: how unlike training images an image is, by its features and its logits.

The score is a distance, or a combination of it and the energy of the logits, which `convwright.stats.ood_selection`
chooses. The distance is the Mahalanobis distance of an image's features to the nearest class of the training images
(Lee et al. 2018), with one covariance for all classes, shrunk (Ledoit and Wolf 2004). Features are mean and standard
deviation of each of the last feature maps, or what the last linear layer reads where there are no such maps. Square
roots of the features are taken first, which keeps single large ones from dominating. Where there are many features, the
distance is computed from their principal components and from the length of what these leave out (Wang et al. 2022).

The formulas need nothing but numpy, as exported files do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from convwright.stats.limits import energy

RULES = ("distance", "larger", "sum", "energy")
"""What a score is: the distance, the larger of distance and energy, their sum, or the energy. In all but the first,
both are normalised: median 0 and 95 % quantile 1 on held-out images."""
MOST_COMPONENTS = 128
"""Most principal components; networks with fewer features keep all of them."""
IMAGES_FOR_COMPONENT = 4
"""Fewest training images for each component: as many components as images would leave out nothing of these."""
FEWEST_TRAINING = 20
"""Fewest training images that the distance is fitted on."""


@dataclass(frozen=True, eq=False)
class OodModel:
    """What the out-of-distribution score of a network is computed from; all arrays are float32."""

    centre: np.ndarray
    """Mean of the square roots of the features, p."""
    components: np.ndarray
    """Orthonormal principal components, D x p."""
    whitening: np.ndarray
    """Matrix that makes the covariance within classes the identity, q x q: q is D, or D + 1 where D is below p."""
    means: np.ndarray
    """Means of the classes after whitening, classes x q."""
    combination: np.ndarray | None = None
    """Place of the rule in `RULES`, median and spread of the distance, median and spread of the energy; None: the score
    is the distance as it is."""

    @property
    def rule(self) -> str:
        """What the score is, of `RULES`."""
        return RULES[0] if self.combination is None else RULES[int(self.combination[0])]

    @property
    def has_residual(self) -> bool:
        """Whether the length of what the components leave out is one more coordinate."""
        count, features = self.components.shape
        return bool(count < features)

    def scores(self, features: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """Return the out-of-distribution score of each image, N.

        Args:
            features: N x p.
            logits: N x classes.
        """
        distances = self.distances(features)
        return distances if self.combination is None else combined(self.combination, distances, energy(logits))

    def distances(self, features: np.ndarray) -> np.ndarray:
        """Return the distance of each image to the nearest class, N.

        Args:
            features: N x p.
        """
        return self.distances_at(self.coordinates(features))

    def coordinates(self, features: np.ndarray) -> np.ndarray:
        """Return the features of images before whitening, N x q.

        Args:
            features: N x p.
        """
        return _coordinates(features, self.centre, self.components)

    def distances_at(self, coordinates: np.ndarray) -> np.ndarray:
        """Return the distance of each image to the nearest class, N, by its coordinates, N x q."""
        white, means = coordinates @ self.whitening.astype(np.float64).T, self.means.astype(np.float64)
        squares = (white**2).sum(1)[:, None] - 2 * white @ means.T + (means**2).sum(1)
        return np.asarray(np.sqrt(np.maximum(squares.min(1), 0)))

    def refitted(self, coordinates: np.ndarray, labels: np.ndarray) -> Self | None:
        """Return a model with the same components, fitted to some of the training images.

        Args:
            coordinates: Of these images, N x q.
            labels: Their classes, N.

        Returns:
            The model; None where images of a class do not differ.
        """
        fitted = _within(coordinates, labels)
        return None if fitted is None else replace(self, whitening=fitted[0], means=fitted[1], combination=None)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays by name, in C order, in which files store them."""
        return {name: np.ascontiguousarray(array) for name, array in vars(self).items() if array is not None}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Return what `to_arrays` returned.

        Raises:
            ValueError: Arrays are missing, or their shapes do not fit together.
        """
        names = cls.__dataclass_fields__.keys()
        if arrays.keys() | {"combination"} != names or any(array.dtype != np.float32 for array in arrays.values()):
            raise ValueError("not the arrays of an out-of-distribution score")
        model = cls(**arrays)
        count, features = model.components.shape
        size = count + model.has_residual
        shapes = {"centre": (features,), "whitening": (size, size)}
        wrong = [name for name, shape in shapes.items() if arrays[name].shape != shape]
        wrong += [] if model.combination is None or _is_combination(model.combination) else ["combination"]
        if wrong or model.means.ndim != 2 or model.means.shape[1] != size:
            raise ValueError("the arrays of an out-of-distribution score do not fit together")
        return model


def combined(combination: np.ndarray, distances: np.ndarray, energies: np.ndarray) -> np.ndarray:
    """Return the scores of images by their distances and energies, N; see `OodModel.combination`."""
    place, *numbers = (float(number) for number in combination)
    distance, energies = (distances - numbers[0]) / numbers[1], (energies - numbers[2]) / numbers[3]
    scores = {"distance": distance, "larger": np.maximum(distance, energies), "sum": distance + energies}
    return np.asarray(scores.get(RULES[int(place)], energies))


def _is_combination(values: np.ndarray) -> bool:
    if values.shape != (5,) or not np.all(np.isfinite(values)):
        return False
    return bool(values[0] in range(len(RULES)) and values[2] > 0 and values[4] > 0)


def fit_ood(features: np.ndarray, labels: np.ndarray) -> OodModel | None:
    """Fit the distance to training images.

    Args:
        features: Of training images, N x p.
        labels: Classes of the training images, N.

    Returns:
        The fitted score; None where there are too few images, or where images of a class do not differ.
    """
    if len(features) < FEWEST_TRAINING:
        return None
    roots = _roots(features)
    centre = roots.mean(0)
    components = _principal(roots - centre).astype(np.float32)
    centre = centre.astype(np.float32)
    fitted = _within(_coordinates(features, centre, components), labels)
    return None if fitted is None else OodModel(centre, components, *fitted)


def _within(coordinates: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the whitening of classes and their whitened means; None where images of a class do not differ."""
    classes, places = np.unique(labels, return_inverse=True)
    means = np.stack([coordinates[labels == label].mean(0) for label in classes])
    whitening = _whitening(coordinates - means[places])
    if not whitening.size:
        return None
    return whitening.astype(np.float32), (means @ whitening.T).astype(np.float32)


def features_of_maps(maps: np.ndarray) -> np.ndarray:
    """Return mean and standard deviation of each feature map: N x C x H x W to N x 2C, float64."""
    maps = np.asarray(maps, np.float64)
    return np.concatenate([maps.mean((2, 3)), maps.std((2, 3))], 1)


def shrunk_covariance(rows: np.ndarray) -> np.ndarray:
    """Return the covariance of centred rows, N x p, shrunk towards the identity (Ledoit and Wolf 2004)."""
    count, size = rows.shape
    plain = rows.T @ rows / count
    scale = np.trace(plain) / size
    distance = ((plain - scale * np.eye(size)) ** 2).sum()
    noise = (((rows**2).sum(1) ** 2).mean() - (plain**2).sum()) / count
    share = min(max(noise / distance, 0.0), 1.0) if distance > 0 else 1.0
    return np.asarray((1 - share) * plain + share * scale * np.eye(size))


def _roots(features: np.ndarray) -> np.ndarray:
    """Return signed square roots."""
    features = np.asarray(features, np.float64)
    return np.asarray(np.sign(features) * np.sqrt(np.abs(features)))


def _principal(rows: np.ndarray) -> np.ndarray:
    """Return the principal components of centred rows: all, or the first ones if there are many or few images."""
    most = min(MOST_COMPONENTS, len(rows) // IMAGES_FOR_COMPONENT)
    _, vectors = np.linalg.eigh(rows.T @ rows)
    return np.asarray(vectors[:, ::-1][:, :most].T)


def _coordinates(features: np.ndarray, centre: np.ndarray, components: np.ndarray) -> np.ndarray:
    """Return features by their principal components, and the length of the rest where there is one."""
    rows = _roots(features) - centre
    found = rows @ components.astype(np.float64).T
    if components.shape[0] == components.shape[1]:
        return np.asarray(found)
    return np.column_stack([found, np.linalg.norm(rows - found @ components, axis=1)])


def _whitening(within: np.ndarray) -> np.ndarray:
    """Return the matrix that makes the covariance of centred rows the identity; empty where they do not differ."""
    values, vectors = np.linalg.eigh(shrunk_covariance(within))
    if not values[0] > 0:
        return np.empty((0, 0))
    return np.asarray((vectors / np.sqrt(values)).T)
