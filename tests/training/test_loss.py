"""The loss of training against a slow reference in float64, and the weights of images and classes."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import convwright as cw
from convwright.data import open_dataset
from convwright.training.config import Recipe
from convwright.training.loss import Loss, balanced, class_weights, effective
from convwright.training.plan import plan
from convwright.training.preparation import make_learner


def reference(
    logits: list[list[float]],
    labels: list[list[float]],
    weights: list[float],
    classes: list[float],
    smoothing: float,
    gamma: float,
    several: bool,
) -> float:
    """The loss by its definition, one image and one class at a time."""
    total = 0.0
    for scores, shares, weight in zip(logits, labels, weights, strict=True):
        count = len(scores)
        mass = sum(shares)
        of_class = sum(s * w for s, w in zip(shares, classes, strict=True)) / mass if mass else 1.0
        one = 0.0
        for score, share in zip(scores, shares, strict=True):
            target = share * (1 - smoothing) + smoothing / count
            if several:
                p = 1 / (1 + math.exp(-score))
                one -= target * (1 - p) ** gamma * math.log(p) + (1 - target) * p**gamma * math.log(1 - p)
            else:
                p = math.exp(score) / sum(map(math.exp, scores))
                one -= target * (1 - p) ** gamma * math.log(p)
        total += weight * of_class * one
    return total


@given(
    seed=st.integers(0, 999),
    smoothing=st.sampled_from([0.0, 0.1, 0.5]),
    gamma=st.sampled_from([0.0, 0.5, 2.0]),
    weighted=st.booleans(),
    by_class=st.booleans(),
    kind=st.sampled_from(["hard", "soft", "several"]),
)
@settings(deadline=None, max_examples=150)
def test_the_loss_is_that_of_the_definition(
    seed: int, smoothing: float, gamma: float, weighted: bool, by_class: bool, kind: str
) -> None:
    generator = torch.Generator().manual_seed(seed)
    count, classes = 5, 4
    logits = torch.randn(count, classes, generator=generator, dtype=torch.float64) * 3
    labels = torch.randint(classes, (count,), generator=generator)
    shares = torch.nn.functional.one_hot(labels, classes).double()
    if kind == "several":
        shares = (torch.rand(count, classes, generator=generator) < 0.4).double()
    elif kind == "soft":
        shares = torch.rand(count, classes, generator=generator).double().softmax(1)
    weights = torch.rand(count, generator=generator).double() if weighted else torch.ones(count).double()
    of_classes = torch.rand(classes, generator=generator).double() if by_class else None
    given_labels = labels if kind == "hard" else shares.bool() if kind == "several" else shares
    if weighted:
        given_labels = torch.cat([shares, weights[:, None]], 1)
    loss = Loss(kind == "several", smoothing, gamma, of_classes)
    expected = reference(
        logits.tolist(),
        shares.tolist(),
        weights.tolist(),
        [1.0] * classes if of_classes is None else of_classes.tolist(),
        smoothing,
        gamma,
        kind == "several",
    )
    assert float(loss(logits, given_labels)) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(seed=st.integers(0, 99), gamma=st.sampled_from([0.0, 0.3, 1.0, 2.0]), several=st.booleans())
@settings(deadline=None, max_examples=40)
def test_gradients_are_finite_where_predictions_are_certain(seed: int, gamma: float, several: bool) -> None:
    logits = torch.tensor([[200.0, -200.0, 0.0], [-200.0, 200.0, -200.0], [0.0, 0.0, 0.0]], requires_grad=True)
    labels = torch.randint(3, (3,), generator=torch.Generator().manual_seed(seed))
    targets = torch.nn.functional.one_hot(labels, 3).bool() if several else labels
    loss = Loss(several, 0.1, gamma)(logits, targets)
    loss.backward()
    assert math.isfinite(loss.item())
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_without_options_it_is_torch_s_cross_entropy_bit_by_bit() -> None:
    logits, labels = torch.randn(40, 7), torch.arange(40) % 7
    for smoothing in (0.0, 0.1):
        expected = torch.nn.functional.cross_entropy(logits, labels, reduction="sum", label_smoothing=smoothing)
        assert torch.equal(Loss(label_smoothing=smoothing)(logits, labels), expected)


def test_the_gradient_of_a_smoothed_image_does_not_depend_on_the_weights_of_other_classes() -> None:
    logits = torch.zeros(1, 3, requires_grad=True)
    gradients = []
    for rare in (1.0, 1000.0):
        loss = Loss(label_smoothing=0.1, class_weights=torch.tensor([1.0, rare, rare]))(logits, torch.tensor([0]))
        gradients.append(torch.autograd.grad(loss, logits)[0])
    assert torch.equal(*gradients)


def test_right_predictions_are_counted() -> None:
    logits = torch.tensor([[3.0, 1.0, 0.0], [0.0, 1.0, 3.0], [0.0, 3.0, 1.0]])
    assert Loss().correct(logits, torch.tensor([0, 1, 1])) == 2
    mixed = torch.tensor([[0.6, 0.4, 0.0], [0.6, 0.0, 0.4], [0.0, 0.5, 0.4]])
    assert Loss().correct(logits, mixed) == 2
    several = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 0]]).bool()
    assert Loss(multi_label=True).correct(logits, several) == 1
    weighted = torch.cat([mixed, torch.full((3, 1), 9.0)], 1)
    assert Loss().correct(logits, weighted) == 2


# Weights of classes


def test_balanced_weights_make_classes_equal_and_the_mean_one() -> None:
    labels = torch.tensor([0] * 6 + [1] * 3 + [3])
    weights = balanced(labels, 4)
    assert weights[labels].mean() == pytest.approx(1)
    assert weights[2] == 0
    sums = [float(weights[label] * (labels == label).sum()) for label in (0, 1, 3)]
    assert sums == pytest.approx([10 / 3] * 3)


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.999])
def test_effective_numbers_are_those_of_the_paper(beta: float) -> None:
    labels = torch.tensor([0] * 60 + [1] * 30 + [3])
    weights = effective(labels, 4, beta)
    assert weights[labels].mean() == pytest.approx(1)
    assert weights[2] == 0
    numbers = [sum(beta**i for i in range(n)) for n in (60, 30, 1)]
    assert [float(weights[0] / weights[k]) for k in (1, 3)] == pytest.approx([n / numbers[0] for n in numbers[1:]])


def test_effective_numbers_go_from_none_to_balanced() -> None:
    labels = torch.tensor([0] * 600 + [1] * 30)
    torch.testing.assert_close(effective(labels, 2, 0.0), torch.ones(2))
    torch.testing.assert_close(effective(labels, 2, 1 - 1e-9), balanced(labels, 2), rtol=1e-4, atol=0)


def test_weights_of_images_with_several_labels() -> None:
    labels = torch.tensor([[1, 0], [1, 0], [1, 1], [0, 0]]).bool()
    weights = balanced(labels, 2)
    assert weights.tolist() == pytest.approx([4 / 6, 2])
    logits = torch.randn(4, 2)
    each = [Loss(True)(logits[i : i + 1], labels[i : i + 1]) for i in range(4)]
    expected = sum(w * one for w, one in zip((4 / 6, 4 / 6, 4 / 3, 1), each, strict=True))
    torch.testing.assert_close(Loss(True, class_weights=weights)(logits, labels), expected)


@pytest.mark.parametrize("kind", ["none", "balanced", "effective"])
def test_the_recipe_chooses_them(kind: str) -> None:
    labels = torch.tensor([0, 0, 1])
    found = class_weights(Recipe(class_weights=kind), labels, 2)  # type: ignore[arg-type]
    expected = {"none": None, "balanced": balanced(labels, 2), "effective": effective(labels, 2, 0.999)}[kind]
    assert (found is None) if expected is None else torch.equal(found, expected)  # type: ignore[arg-type]


def test_a_learner_takes_steps_with_the_recipe_s_loss() -> None:
    data = open_dataset("digits")
    network = cw.network("cifar_resnet8")
    recipe = {"class_weights": "effective", "label_smoothing": 0.1, "focal": 2.0}
    config, network = plan(data, network, epochs=1, recipe=recipe)
    learner = make_learner(config, network, data)
    assert (learner.loss.focal, learner.loss.label_smoothing) == (2.0, 0.1)
    images, labels = data.normalise(data.train.images[:32]), data.train.labels[:32]
    losses = [learner.train_step(images, labels, step, 10)[0] for step in range(4)]
    assert losses[-1] < losses[0]
