"""Suspects: images that may be duplicates, have a wrong label, be unlike their class, or unlike every other image."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from convwright.brief import Brief
from convwright.curation.crossfit import CrossFit
from convwright.curation.duplicates import Duplicates
from convwright.curation.neighbours import Neighbours
from convwright.curation.pool import ROLES, Pool
from convwright.extras import require_package

Kind = Literal["duplicate", "label", "unlike", "outlier"]
Action = Literal["keep", "relabel", "drop"]
KINDS: dict[Kind, str] = {
    "duplicate": "near-duplicates",
    "label": "label errors",
    "unlike": "images unlike their class",
    "outlier": "outliers",
}
"""Kinds of suspects with their titles, in the order in which they are shown."""
FEWEST = 6
"""Images that a class needs for its labels to be judged: with fewer, a fold's model has hardly seen the class."""
IMPROBABLE = 0.12
"""Probability of a label, as a share of that of the predicted class, below which it is certainly wrong, if the
neighbours agree."""
CLEAR = 0.5
"""Probability of a class, and share of the neighbours, from which on an image is certainly of the class."""
STRANGE = 0.1
"""Largest share of neighbours with the label of an image that is unlike its class."""
FAR = 5.0
"""Robust standard deviations (1.4826 x median absolute deviation) by which the logarithm of an outlier's distance
exceeds the median of these logarithms."""


@dataclass(frozen=True)
class Suspect(Brief):
    """An image that should be looked at, why, and what is proposed."""

    position: int
    """Position in the pool."""
    name: str
    """The image's file, or its split and its index in there."""
    split: str
    kind: Kind
    label: str
    """Its class; several labels are joined by commas."""
    action: Action
    """What is proposed: a new label, or to drop the image from the list."""
    score: float
    """How certain the finding is, 0 to 1; comparable within a kind."""
    confident: bool
    """Whether independent signs agree, so that the proposal can be accepted without a look at the image."""
    proposed_class: str = ""
    """Class that the predictions or the most similar images propose; empty if they propose none."""
    duplicate_of: str = ""
    """Name of the image that it is a duplicate of."""
    duplicate_position: int = -1
    """Position of that image in the pool."""
    reasons: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Return the fields as values that JSON can hold."""
        shown = {"image": self.name, "split": self.split, "kind": self.kind, "label": self.label}
        shown |= {"proposed_class": self.proposed_class} if self.proposed_class else {}
        shown |= {"duplicate_of": self.duplicate_of} if self.duplicate_of else {}
        rest = {"action": self.action, "score": round(self.score, 4), "confident": self.confident}
        return shown | rest | {"reasons": list(self.reasons)}


class SuspectFinder:
    """Finds the suspects of a pool.

    Args:
        pool: The images.
        neighbours: Their nearest neighbours.
        fit: Cross-fitted predictions; None for multi-label data.
    """

    def __init__(self, pool: Pool, neighbours: Neighbours, fit: CrossFit | None) -> None:
        self.pool, self.neighbours, self.fit = pool, neighbours, fit

    def duplicates(self, found: Duplicates) -> list[Suspect]:
        """Return the images that are duplicates of a kept image, pairs that cross splits first.

        Test images are kept before validation images, and validation images before training images; then the image
        whose label is more probable, then the first.
        """
        duplicates = found.choose_kept(lambda one: (float(self.pool.roles[one]), self._probability(one), -one))
        suspects = [self._duplicate(one, kept, found) for one, kept in duplicates.items()]
        return sorted(suspects, key=lambda each: (not _crosses(each), -each.score, each.position))

    def _duplicate(self, one: int, kept: int, found: Duplicates) -> Suspect:
        name, label, other = self.pool.name(kept), self.label(one), self.label(kept)
        score = found.links[one][kept]
        reasons = [f"shows the same as {name}" if score < 1 else f"has the same pixels as {name}"]
        if self.pool.roles[one] != self.pool.roles[kept]:
            reasons.append(f"which is in the split {ROLES[self.pool.roles[kept]]}")
        if label != other:
            reasons.append(f"which has the class {other or 'none'}")
        confident = score >= found.confident_correlation and self.pool.roles[one] < ROLES.index("test")
        return self._suspect(
            one, "duplicate", "drop", score, confident, reasons, duplicate_of=name, duplicate_position=kept
        )

    def label_errors(self) -> list[Suspect]:
        """Return the images whose labels the cross-fitted predictions contradict, the surest first.

        They are as many of the least probable labels as cleanlab estimates to be wrong, and those that predictions and
        neighbours both clearly contradict.
        """
        if self.fit is None:
            return []
        rows = self._judged
        probabilities, labels = self.fit.probabilities, self.pool.labels
        predicted = probabilities.argmax(1)
        issues = np.zeros(len(rows), bool)
        tests = self.pool.roles[rows] == ROLES.index("test")
        for part in (~tests, tests):  # apart, since test images are predicted by the models of all folds together
            issues[part] = _least_probable(labels[rows[part]], probabilities[rows[part]])
        wrong = rows[issues | self._contradicted(rows, predicted)]
        wrong = wrong[predicted[wrong] != labels[wrong]]
        suspects = []
        for one in wrong.tolist():
            proposed_class, own = int(predicted[one]), float(probabilities[one, labels[one]])
            share, support = self._share(one, int(labels[one])), self._share(one, proposed_class)
            probability = float(probabilities[one, proposed_class])
            clear = probability >= CLEAR and support >= CLEAR
            confident = (
                own < IMPROBABLE * probability and support > share and self.pool.roles[one] < ROLES.index("test")
            )
            reasons = [f"predicted as {self.classes[proposed_class]} ({probability:.0%}; its label {own:.0%})"]
            reasons += self._voted(one, proposed_class)
            score = (1 - own) / 2 + (1 + support - share) / 4
            suspect = self._suspect(
                one, "label", "relabel" if clear else "drop", score, confident, reasons, proposed_class
            )
            suspects.append(suspect)
        return sorted(suspects, key=lambda each: -each.score)

    def _contradicted(self, rows: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Return for which of these images both predictions and neighbours clearly contradict the label."""
        if self.fit is None or not self.neighbours.positions.shape[1]:
            return np.zeros(len(rows), bool)
        labels = self.pool.labels
        near = labels[self.neighbours.positions[rows]]
        own = (near == labels[rows, None]).mean(1)
        support = (near == predicted[rows, None]).mean(1)
        probabilities = self.fit.probabilities
        improbable = probabilities[rows, labels[rows]] < IMPROBABLE * probabilities[rows, predicted[rows]]
        found: np.ndarray = improbable & (support >= CLEAR) & (own <= STRANGE)
        return found

    def unlike(self) -> list[Suspect]:
        """Return the images whose neighbours have other classes, the most contrary first."""
        if self.fit is None or not self.neighbours.positions.size:
            return []
        suspects = []
        for one in self._judged.tolist():
            label = int(self.pool.labels[one])
            share = self._share(one, label)
            if share > STRANGE:
                continue
            votes = np.bincount(self.pool.labels[self.neighbours.positions[one]], minlength=len(self.classes))
            proposed_class = int(votes.argmax())
            support = float(votes[proposed_class] / votes.sum())
            if proposed_class == label:
                continue
            clear = support >= 0.8 and int(self.fit.probabilities[one].argmax()) == proposed_class
            action: Action = "relabel" if clear else "drop"
            score = (1 - share) * (1 - self._probability(one))
            suspects.append(
                self._suspect(one, "unlike", action, score, False, self._voted(one, proposed_class), proposed_class)
            )
        return sorted(suspects, key=lambda each: -each.score)

    def outliers(self) -> list[Suspect]:
        """Return the images that are far from their nearest neighbours, the farthest first."""
        if not self.neighbours.similarities.shape[1]:
            return []
        distances = np.log(np.maximum(1 - self.neighbours.similarities.mean(1), 1e-4))
        spaces = self.neighbours.space_of
        middle = np.full(len(distances), np.median(distances))
        for space in () if spaces is None else np.unique(spaces):
            middle[spaces == space] = np.median(distances[spaces == space])
        spread = 1.4826 * np.median(np.abs(distances - middle))
        if not spread:
            return []
        far = (distances - middle) / spread
        found = np.flatnonzero(far > FAR)
        suspects = []
        for one in found[np.argsort(-far[found], kind="stable")].tolist():
            reasons = [
                f"resembles no other image (distance {np.exp(distances[one]):.2f}, usually {np.exp(middle[one]):.2f})"
            ]
            score = float(1 - FAR / far[one] / 2)
            suspects.append(self._suspect(one, "outlier", "drop", score, False, reasons))
        return suspects

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.pool.data.classes

    def label(self, position: int) -> str:
        """Return an image's class, or its classes joined by commas."""
        return ", ".join(self.pool.classes_of(position))

    def small_classes(self) -> list[str]:
        """Return the classes with too few images for their labels to be judged."""
        return [name for name, count in zip(self.classes, self._counts, strict=True) if count < FEWEST]

    @property
    def _counts(self) -> np.ndarray:
        return np.bincount(self.pool.labels[self.pool.learnable], minlength=len(self.classes))

    @property
    def _judged(self) -> np.ndarray:
        """Positions of the images of classes that have enough images to learn from."""
        return np.flatnonzero(self._in_large_classes & self._judgeable)

    def count_unjudged(self) -> int:
        """Return the number of images that are not judged though their class has enough images.

        The models that predicted them had hardly been trained on their class, as its images are in one group.
        """
        return int((self._in_large_classes & ~self._judgeable).sum())

    @property
    def _in_large_classes(self) -> np.ndarray:
        found: np.ndarray = self._counts[self.pool.labels] >= FEWEST
        return found

    @property
    def _judgeable(self) -> np.ndarray:
        return np.ones(len(self.pool), bool) if self.fit is None else self.fit.judgeable

    def _share(self, position: int, label: int) -> float:
        """Return the share of an image's neighbours that have a label."""
        near = self.neighbours.positions[position]
        return float((self.pool.labels[near] == label).mean()) if len(near) else 0.0

    def _voted(self, position: int, label: int) -> list[str]:
        near = self.neighbours.positions[position]
        votes = int((self.pool.labels[near] == label).sum())
        return [f"{votes} of the {len(near)} most similar images are {self.classes[label]}"] if len(near) else []

    def _probability(self, position: int) -> float:
        """Return the probability of an image's label; 0 where there are no predictions."""
        return float(self.fit.probabilities[position, self.pool.labels[position]]) if self.fit is not None else 0.0

    def _suspect(
        self,
        position: int,
        kind: Kind,
        action: Action,
        score: float,
        confident: bool,
        reasons: list[str],
        proposed_class: int | None = None,
        *,
        duplicate_of: str = "",
        duplicate_position: int = -1,
    ) -> Suspect:
        return Suspect(
            position=position,
            name=self.pool.name(position),
            split=ROLES[self.pool.roles[position]],
            kind=kind,
            label=self.label(position),
            action=action,
            score=float(min(max(score, 0.0), 1.0)),
            confident=bool(confident),
            proposed_class="" if proposed_class is None else self.classes[proposed_class],
            duplicate_of=duplicate_of,
            duplicate_position=duplicate_position,
            reasons=tuple(reasons),
        )


def merged(*kinds: list[Suspect]) -> tuple[Suspect, ...]:
    """Return suspects of several kinds so that each image is named once: as the first kind that found it."""
    found: dict[int, Suspect] = {}
    for suspect in (each for kind in kinds for each in kind):
        found.setdefault(suspect.position, suspect)
    return tuple(found.values())


def _crosses(suspect: Suspect) -> bool:
    return any(reason.startswith("which is in the split") for reason in suspect.reasons)


def _least_probable(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return which labels are errors: as many of the least probable ones as cleanlab estimates that there are."""
    filters = require_package("cleanlab.filter", "finding label errors")
    present, numbers = np.unique(labels, return_inverse=True)
    if len(present) < 2:
        return np.zeros(len(labels), bool)
    shares = probabilities[:, present].astype(np.float64)
    shares /= np.maximum(shares.sum(1, keepdims=True), 1e-12)
    found: np.ndarray = filters.find_label_issues(
        numbers.ravel(), shares, filter_by="low_self_confidence", n_jobs=1, verbose=False
    )
    return found
