"""Measures of a network's answers: against hand-made cases, scikit-learn, and what must always hold."""

import json
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk
from torch.utils._python_dispatch import TorchDispatchMode

import convwright as cw
from convwright.data import Augmentation, open_dataset
from convwright.errors import UsageError
from convwright.evaluation.confusion import Confusion
from convwright.evaluation.measures import Measures, Tally
from convwright.stats.intervals import wilson
from convwright.training.config import Recipe
from convwright.training.evaluation import evaluate, outputs
from convwright.training.plan import plan
from convwright.training.views import View, views_of


def measured(logits: torch.Tensor, labels: torch.Tensor, batch: int = 7) -> Measures:
    tally = Tally(logits.shape[1])
    for some, their in zip(logits.split(batch), labels.split(batch), strict=True):
        tally.add(some, their)
    return tally.measures()


def answers(count: int, classes: int, seed: int = 0, sharpness: float = 2.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = sharpness * torch.randn(count, classes, generator=generator)
    return logits, torch.randint(classes, (count,), generator=generator)


random_answers = st.builds(
    answers, st.integers(1, 60), st.integers(2, 12), st.integers(0, 10**6), st.sampled_from([0.01, 1.0, 30.0])
)


def test_confusion_and_class_scores_by_hand():
    predicted = torch.tensor([0, 0, 1, 1, 1, 0])
    result = measured(torch.nn.functional.one_hot(predicted, 4).float(), torch.tensor([0, 0, 0, 1, 1, 2]), batch=4)
    assert result.confusion.tolist() == [[2, 1, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert (result.images, result.correct, result.accuracy) == (6, 4, 4 / 6)
    assert result.interval == wilson(4, 6)
    first, second, third, absent = result.class_scores(("a", "b", "c", "d"))
    assert (first.name, first.images, first.predicted, first.correct) == ("a", 3, 3, 2)
    assert (first.precision, first.recall, first.f1) == (2 / 3, 2 / 3, 2 / 3)
    assert (second.precision, second.recall, second.f1) == (2 / 3, 1, 4 / 5)
    assert second.recall_interval == wilson(2, 2)
    assert (third.precision, third.recall, third.f1) == (None, 0, 0)
    assert (absent.precision, absent.recall, absent.recall_interval, absent.f1) == (None, None, None, None)
    assert [tuple(pair) for pair in result.most_confused(5)] == [(0, 1, 1), (2, 0, 1)]
    assert len(result.most_confused(1)) == 1


def test_calibration_error_and_loss_by_hand():
    # Confidences 0.9, 0.9 (one right, one wrong) and 0.6 (right): bins 13 (0.867 to 0.933) and 8 (0.533 to 0.6).
    probabilities = torch.tensor([[0.9, 0.1], [0.1, 0.9], [0.39, 0.61]], dtype=torch.float64)
    result = measured(probabilities.log(), torch.tensor([0, 0, 1]))
    assert result.calibration_error == pytest.approx((2 * abs(0.5 - 0.9) + abs(1 - 0.61)) / 3)
    assert result.loss == pytest.approx(-(math.log(0.9) + math.log(0.1) + math.log(0.61)) / 3)
    filled = {place: row for place, row in enumerate(result.reliability) if row.images}
    assert {place: row.images for place, row in filled.items()} == {9: 1, 13: 2}
    assert (filled[13].low, filled[13].high) == (13 / 15, 14 / 15)
    assert (filled[13].accuracy, filled[13].confidence) == (0.5, pytest.approx(0.9))
    assert result.reliability[0].accuracy is None


def test_the_bins_reach_from_0_to_1():
    sure = measured(torch.tensor([[500.0, 0.0], [0.0, 500.0]]), torch.tensor([0, 0]))
    assert sure.reliability[-1].images == 2
    assert sure.calibration_error == pytest.approx(0.5)
    assert sure.loss == pytest.approx(250)
    unsure = measured(torch.zeros(4, 30), torch.tensor([0, 1, 2, 3]))
    assert unsure.reliability[0].images == 4


def test_top_5_by_hand():
    logits = torch.arange(7.0).expand(4, 7)  # the likeliest five are 6, 5, 4, 3 and 2
    result = measured(logits, torch.tensor([6, 2, 1, 0]))
    assert (result.within_top, result.top5, result.top5_interval) == (2, 0.5, wilson(2, 4))
    assert measured(torch.zeros(2, 5), torch.tensor([0, 1])).top5 is None


@given(random_answers)
def test_what_always_holds(given_answers):
    logits, labels = given_answers
    result = measured(logits, labels)
    assert result.confusion.sum(1).tolist() == torch.bincount(labels, minlength=logits.shape[1]).tolist()
    assert result.images == len(labels) == sum(row.images for row in result.reliability)
    assert result.accuracy == result.confusion.trace().item() / result.confusion.sum().item()
    assert 0 <= result.calibration_error <= 1
    low, high = result.interval
    assert 0 <= low <= result.accuracy <= high <= 1
    assert sum(pair.images for pair in result.most_confused(1000)) == result.images - result.correct
    for row in result.reliability:
        assert row.confidence is None or row.low - 1e-9 <= row.confidence <= row.high + 1e-9
    if result.top5 is not None:
        assert result.accuracy <= result.top5 <= 1


@given(random_answers, st.integers(1, 60))
def test_batches_of_any_size_add_up_to_the_same(given_answers, batch):
    one, other = measured(*given_answers), measured(*given_answers, batch=batch)
    assert torch.equal(one.confusion, other.confusion)
    assert one.within_top == other.within_top
    assert one.loss == pytest.approx(other.loss)
    assert one.calibration_error == pytest.approx(other.calibration_error)


class AllocatedElements(TorchDispatchMode):
    """Counts the elements of every tensor that an operation returns."""

    elements = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        outputs = found if isinstance(found, tuple) else (found,)
        self.elements += sum(one.numel() for one in outputs if isinstance(one, torch.Tensor))
        return found


@pytest.mark.parametrize("classes", [100, 10_000])
def test_work_and_memory_are_linear_in_the_batch(classes: int) -> None:
    logits, labels = answers(40, classes)
    tally = Tally(classes)
    with AllocatedElements() as counted:
        for _ in range(50):
            tally.add(logits, labels)
        result = tally.measures()
        result.class_scores(tuple(map(str, range(classes))))
        result.most_confused(5)
    assert counted.elements < 50 * logits.numel() * 8
    assert result.images == 2000


@given(random_answers, st.integers(1, 30))
def test_pairs_are_counted_in_any_number_of_steps(given_answers: Any, limit: int) -> None:
    import convwright.evaluation.confusion as module

    before, module.PENDING = module.PENDING, limit
    try:
        result = measured(*given_answers)
    finally:
        module.PENDING = before
    found, whole = result.pairs, measured(*given_answers).pairs
    assert found.matrix().equal(whole.matrix())
    for name in ("truth", "predicted", "counts"):
        assert getattr(Confusion.of(whole.matrix()), name).equal(getattr(found, name))
    matrix = found.matrix()
    assert found.by_class.equal(matrix.sum(1))
    assert found.by_prediction.equal(matrix.sum(0))
    assert found.correct_by_class.equal(matrix.diagonal())
    chosen = list(range(found.classes))[::-2]
    assert found.among(chosen).equal(matrix[chosen][:, chosen])


def test_a_large_matrix_is_written_as_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    result = measured(*answers(60, 12))
    names = tuple(map(str, range(12)))
    assert result.to_dict(names)["confused"] is None
    monkeypatch.setattr("convwright.evaluation.measures.LARGEST_MATRIX", 11)
    facts = json.loads(json.dumps(result.to_dict(names)))
    assert facts["confusion"] is None
    assert sum(images for *_, images in facts["confused"]) == 60 - result.correct


@given(random_answers)
def test_scikit_learn_says_the_same(given_answers):
    logits, labels = given_answers
    result, names = measured(logits, labels), range(logits.shape[1])
    truth, predicted = labels.numpy(), logits.argmax(1).numpy()
    assert (result.confusion.numpy() == sk.confusion_matrix(truth, predicted, labels=names)).all()
    assert result.accuracy == pytest.approx(sk.accuracy_score(truth, predicted))
    if logits.abs().max() < 15:  # scikit-learn clips what is less likely than 1e-16
        assert result.loss == pytest.approx(sk.log_loss(truth, logits.double().softmax(1), labels=names), rel=1e-6)
    figures = sk.precision_recall_fscore_support(truth, predicted, labels=names, zero_division=0)
    for score, precision, recall, f1, support in zip(
        result.class_scores(tuple(map(str, names))), *figures, strict=True
    ):
        assert (score.precision or 0, score.recall or 0, score.f1 or 0) == pytest.approx((precision, recall, f1))
        assert score.images == support
    if result.top5 is not None:
        assert result.top5 == pytest.approx(sk.top_k_accuracy_score(truth, logits, k=5, labels=names))


@given(st.lists(st.tuples(st.integers(11, 20), st.integers(1, 5)), min_size=1, max_size=8))
def test_perfect_calibration_has_no_error(groups):
    """Of 20 images with a probability of share/20, exactly `share` are right."""
    logits, labels = [], []
    for share, times in groups:
        logs = torch.tensor([share / 20, 1 - share / 20], dtype=torch.float64).clamp(1e-300).log()
        logits.append(logs.expand(20 * times, 2))
        labels.append((torch.arange(20 * times) % 20 >= share).long())
    assert measured(torch.cat(logits), torch.cat(labels)).calibration_error == pytest.approx(0, abs=1e-9)


def test_half_as_right_as_it_is_sure():
    sure = torch.tensor([[20.0, -20.0]]).expand(1000, 2)
    assert measured(sure, torch.arange(1000) % 2).calibration_error == pytest.approx(0.5)


def test_nothing_to_measure():
    with pytest.raises(UsageError, match="no images"):
        Tally(3).measures()


class Corner(torch.nn.Module):
    """Two logits that depend on where in the image what is."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        rows, columns = torch.arange(images.shape[2]).view(-1, 1), torch.arange(images.shape[3])
        return torch.stack([(images * rows).sum((1, 2, 3)), (images * columns**2).sum((1, 2, 3))], 1)


def test_views_move_and_mirror():
    image = torch.arange(1.0, 10.0).view(1, 1, 3, 3)
    assert View(down=1).of(image)[0, 0].tolist() == [[0, 0, 0], [1, 2, 3], [4, 5, 6]]
    assert View(right=-1).of(image)[0, 0].tolist() == [[2, 3, 0], [5, 6, 0], [8, 9, 0]]
    assert View(mirrored=True, right=1).of(image)[0, 0].tolist() == [[2, 1, 0], [5, 4, 0], [8, 7, 0]]
    assert str(View(mirrored=True, down=-2)) == "2 px up mirrored"
    assert str(View()) == "as it is"


@pytest.mark.parametrize(
    ("crop", "flip", "count", "step"), [(0, False, 1, 0), (0, True, 2, 0), (3, False, 5, 2), (4, True, 10, 2)]
)
def test_views_are_those_of_the_recipe(crop, flip, count, step):
    views = views_of(Recipe(crop=crop, flip=flip), 8)
    assert len(views) == len(set(views)) == count
    assert views[0] == View()
    assert {view.mirrored for view in views} == ({False, True} if flip else {False})
    assert {abs(view.down) + abs(view.right) for view in views} == {0, step}


@pytest.mark.parametrize("resolution", [1, 2, 5, 8])
@pytest.mark.parametrize("crop", [*range(20), 10**4])
def test_every_view_shows_a_part_of_the_image(crop, resolution):
    image = torch.ones(1, 1, resolution, resolution)
    views = views_of(Recipe(crop=crop, flip=True), resolution)
    assert all(view.of(image).shape == image.shape and view.of(image).any() for view in views)
    assert len(views) == (10 if 0 < (crop + 1) // 2 < resolution else 2)


def test_a_view_beyond_the_image_is_refused():
    with pytest.raises(UsageError, match="a shift of 4 px right moves images of 3 x 4 pixels out of view"):
        View(right=4).of(torch.ones(1, 1, 3, 4))


@pytest.mark.parametrize("crop", [8, 9, 10**4])
def test_a_crop_that_can_miss_the_image_is_refused(crop):
    data = open_dataset("digits")
    with pytest.raises(UsageError, match=rf"crop.* must be less than the images' resolution, 8 px, not {crop}"):
        plan(data, cw.network("cifar_resnet8"), recipe={"crop": crop})
    plan(data, cw.network("cifar_resnet8"), recipe={"crop": 7})


@pytest.mark.parametrize("crop", [1, 4, 7])
def test_every_crop_shows_a_part_of_the_image(crop):
    cropped = Augmentation(crop=crop).apply(torch.ones(500, 1, 8, 8), torch.Generator().manual_seed(0))
    assert cropped.flatten(1).any(1).all()


def test_augmented_answers_are_the_mean_over_the_views():
    images = torch.rand(4, 1, 5, 5, generator=torch.Generator().manual_seed(1)) / 10
    views = (View(), View(mirrored=True), View(down=2))
    moved = torch.zeros_like(images)
    moved[:, :, 2:] = images[:, :, :3]
    module = Corner()
    expected = sum(module(view).softmax(1) for view in (images, images.flip(3), moved)) / 3
    ((logits, _),) = outputs(module, [(images, torch.zeros(4))], views=views)
    assert torch.allclose(logits.exp(), expected, atol=1e-6)
    assert not torch.allclose(module(images).softmax(1), expected, atol=1e-3)


def test_averages_of_impossible_classes_stay_finite():
    ((logits, _),) = outputs(
        torch.nn.Flatten(), [(torch.tensor([[[[900.0, 0.0]]]]), torch.tensor([1]))], views=(View(), View())
    )
    assert logits.tolist() == [[0, -900]]


def test_the_mode_is_restored_when_a_consumer_fails():
    module = torch.nn.Flatten().train()

    def fail(_: int) -> None:
        assert not module.training
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:  # the traceback keeps the frames alive
        evaluate(module, [(torch.zeros(2, 1, 1, 3), torch.tensor([0, 1]))], after_batch=fail)
    assert module.training
    del caught


def test_no_gradients_are_recorded():
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
    ((logits, _),) = outputs(module, [(torch.zeros(1, 1, 2, 2), torch.tensor([0]))])
    assert not logits.requires_grad
    assert torch.is_grad_enabled()
