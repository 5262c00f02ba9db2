"""Deletion and insertion scores: their definition, what they tell apart, and the intervals of their means."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import convwright as cw
from convwright.arch import at
from convwright.errors import UsageError
from convwright.explain import ActivationMaps, Estimate, MapScores, activation_maps, score_maps
from convwright.explain.deletion import Curves, _blurred, _ranks, each_score, random_grids
from convwright.prediction.network import Predictor

SIDE = 16


class Corner(nn.Module):
    """Sees only the mean of the upper left quarter."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        seen = images[:, :, : SIDE // 2, : SIDE // 2].mean((1, 2, 3))
        return torch.stack([8 * seen - 4, 4 - 8 * seen], 1)


def maps_of(maps: np.ndarray, target: int = 0, grid: int = 4) -> ActivationMaps:
    count = len(maps)
    raw = np.zeros((count, grid, grid), np.float32)
    return ActivationMaps("cam", "x", raw, maps.astype(np.float32), (target,) * count, (1.0,) * count)


@pytest.fixture
def corner_map():
    found = np.zeros((3, SIDE, SIDE))
    found[:, : SIDE // 2, : SIDE // 2] = 1
    return found


@pytest.fixture
def bright():
    """Images that are bright where the corner network looks and elsewhere, with some noise."""
    return 1 + 0.1 * torch.rand(3, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def test_the_map_that_is_right_beats_random_ones_and_those_beat_the_one_that_is_wrong(corner_map, bright):
    right = score_maps(Corner(), bright, maps_of(corner_map), removed="mean")
    wrong = score_maps(Corner(), bright, maps_of(1 - corner_map))
    for row, scores in enumerate(each_score(right)):
        assert scores["deletion"] < scores["random_deletion"] < wrong.maps.deletion_scores[row]
        assert scores["deletion_gain"] == pytest.approx(scores["random_deletion"] - scores["deletion"])
    # The network has seen all there is to see after a quarter of the pixels, or only after three quarters.
    chances = Corner()(torch.zeros(1, 1, SIDE, SIDE)).softmax(1)[0, 0].item()
    assert right.maps.deletion[:, 8] == pytest.approx(chances)
    assert wrong.maps.deletion[:, 24] == pytest.approx(wrong.maps.deletion[:, 0])


def test_insertion_finds_what_a_blur_hides(corner_map):
    """Fine stripes vanish in the blurred image, and return with the pixels."""

    class Stripes(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            corner = images[:, 0, : SIDE // 2, : SIDE // 2]
            seen = (corner[:, :, 1::2] - corner[:, :, ::2]).mean((1, 2))
            return torch.stack([8 * seen - 4, 4 - 8 * seen], 1)

    images = torch.zeros(3, 1, SIDE, SIDE)
    images[..., 1::2] = 1
    right, wrong = (score_maps(Stripes(), images, maps_of(one)) for one in (corner_map, 1 - corner_map))
    assert right.maps.insertion[:, 0].max() < 0.1
    assert right.maps.insertion[:, -1].min() > 0.95
    assert (right.maps.insertion_scores > right.random.insertion_scores).all()
    assert (right.random.insertion_scores > wrong.maps.insertion_scores).all()


@pytest.fixture(scope="module")
def predictor():
    network = at(cw.network("cifar_seresnet8|scale:w=0.5"), resolution=SIDE, channels=3, classes=4)
    return Predictor(network, cw.build(network, seed=1), "abcd", (0.4, 0.5, 0.6), (0.25,) * 3)


@pytest.fixture(scope="module")
def pictures():
    return torch.randint(0, 256, (5, 3, SIDE, SIDE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("removed", ["mean", "black", "blur"])
def test_every_point_of_the_curves_is_what_the_network_says(removed, predictor, pictures):
    distinct = np.random.default_rng(0).permuted(np.tile(np.arange(SIDE**2), (5, 1)), axis=1) / SIDE**2
    maps = maps_of(distinct.reshape(5, SIDE, SIDE), target=2)
    found = score_maps(predictor, pictures, maps, steps=5, removed=removed)
    images = predictor.normalised(pictures)
    blurred = _blurred(images, 1 / 8)
    black = predictor.normalised(torch.zeros_like(pictures))
    instead = {"mean": torch.zeros_like(images), "black": black, "blur": blurred}[removed]
    for row in range(len(pictures)):
        order = np.argsort(-maps.maps[row].ravel(), kind="stable")
        for step in range(6):
            changed = np.zeros(SIDE**2, bool)
            changed[order[: round(step * SIDE**2 / 5)]] = True
            mask = torch.from_numpy(changed.reshape(SIDE, SIDE))
            with torch.no_grad():
                both = torch.stack(
                    [torch.where(mask, instead[row], images[row]), torch.where(mask, images[row], blurred[row])]
                )
                chances = predictor.module(both).softmax(1)[:, maps.targets[row]]
            assert found.maps.deletion[row, step] == pytest.approx(chances[0].item(), abs=1e-5)
            assert found.maps.insertion[row, step] == pytest.approx(chances[1].item(), abs=1e-5)


def test_batches_of_any_size_and_chunks_of_images_give_the_same(predictor, pictures):
    maps, counted = activation_maps(predictor, pictures), []
    whole = score_maps(predictor, pictures, maps, steps=4)
    small = score_maps(predictor, pictures, maps, steps=4, batch_size=1, progress=counted.append)
    assert counted == [1] * 5
    for name, values in whole.values().items():
        assert values == pytest.approx(small.values()[name], abs=1e-5)


@pytest.mark.parametrize(("batch_size", "steps"), [(1, 3), (5, 3), (16, 40), (9, 3)])
def test_no_batch_is_larger_than_requested(batch_size, steps, predictor, pictures):
    sizes = []
    handle = predictor.module.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    maps = activation_maps(predictor, pictures)
    sizes.clear()
    found = score_maps(predictor, pictures, maps, steps=steps, batch_size=batch_size)
    handle.remove()
    assert max(sizes) <= batch_size
    assert sum(sizes) == 4 * len(pictures) * (steps + 1)
    whole = score_maps(predictor, pictures, maps, steps=steps, batch_size=1000)
    assert found.maps.deletion == pytest.approx(whole.maps.deletion, abs=1e-5)
    assert found.random.insertion == pytest.approx(whole.random.insertion, abs=1e-5)


def test_by_default_no_batch_is_larger_than_in_evaluation(predictor, pictures, monkeypatch):
    monkeypatch.setattr("convwright.explain.deletion.batch_for", lambda network: 7)
    sizes = []
    handle = predictor.module.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    maps = activation_maps(predictor, pictures, batch_size=1)
    score_maps(predictor, pictures, maps, steps=20)
    handle.remove()
    assert max(sizes) == 7


def test_the_module_is_left_as_it_was(predictor, pictures):
    predictor.module.train()
    score_maps(predictor, pictures[:1], activation_maps(predictor, pictures[:1]), steps=2)
    assert all(part.training for part in predictor.module.modules())
    predictor.module.eval()


def test_areas_by_trapezoids():
    curves = Curves(np.array([[1.0, 0.5, 0.0], [1, 1, 1]]), np.array([[0.0, 0.0, 1.0], [0, 0, 0]]))
    assert curves.deletion_scores.tolist() == [0.5, 1]
    assert curves.insertion_scores.tolist() == [0.25, 0]


def test_the_most_relevant_pixel_comes_first_and_equal_ones_in_no_order():
    maps = torch.tensor([[[0.1, 0.9], [0.5, 0.2]]])
    assert _ranks(maps, range(1), 0).tolist() == [[[3, 0], [1, 2]]]
    flat = _ranks(torch.zeros(2, 16, 16), range(2), 0).flatten(1)
    for ranks in flat:
        assert sorted(ranks.tolist()) == list(range(256))
        assert abs(stats.spearmanr(ranks, range(256)).statistic) < 0.2, "from top to bottom would favour the top"
    assert not torch.equal(*flat)


def test_random_maps_are_the_same_for_every_network_and_differ_between_images():
    first = random_grids((4, 4), range(3), seed=0)
    assert torch.equal(first[2:], random_grids((4, 4), range(2, 3), seed=0))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, random_grids((4, 4), range(3), seed=1))


def test_the_blur_keeps_what_is_even_and_hides_what_is_fine():
    even = torch.full((1, 3, 20, 30), 0.7)
    assert torch.allclose(_blurred(even, 0.125), even, atol=1e-5)
    stripes = torch.zeros(1, 1, 20, 20)
    stripes[..., ::2] = 1
    assert _blurred(stripes, 0.125).std() < 0.02 < stripes.std()
    assert _blurred(torch.ones(1, 1, 1, 1), 0.125).item() == 1


def test_means_have_students_intervals():
    values = np.random.default_rng(0).normal(3, 1, 12)
    found = Estimate.of(values)
    expected = stats.t.interval(0.95, 11, loc=values.mean(), scale=stats.sem(values))
    assert found.mean == pytest.approx(values.mean())
    assert found.interval == pytest.approx(expected)
    assert found.images == 12
    assert Estimate.of(values[:1]) == Estimate(values[0], None, 1)


def test_networks_are_compared_image_by_image():
    """A small difference that every image shows is found although images differ far more from each other."""
    rng = np.random.default_rng(0)
    level = rng.uniform(0.2, 0.8, (40, 1))

    def scores(shift: float) -> MapScores:
        noisy = level + shift + rng.normal(0, 0.005, (40, 3))
        return MapScores(Curves(noisy, noisy), Curves(level.repeat(3, 1), level.repeat(3, 1)))

    first, second = scores(0.0), scores(0.02)
    difference = second.minus(first)["deletion"]
    assert difference.interval[0] > 0
    assert difference.mean == pytest.approx(0.02, abs=0.004)
    apart = [one.estimates()["deletion"].interval for one in (first, second)]
    assert apart[0][1] > apart[1][0], "the intervals of the means alone would not tell"
    with pytest.raises(UsageError, match="same images"):
        first.minus(MapScores(*(Curves(np.zeros((2, 2)), np.zeros((2, 2))),) * 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "1 step or more, not 0"),
        ({"batch_size": 0}, "batch size is 1 or more, not 0"),
        ({"removed": "grey"}, "mean, black or blur, not 'grey'"),
        ({"blur": 0.0}, "above 0 and at most 1"),
        ({"removed": "black"}, "the value of black is unknown for a torch module"),
    ],
)
def test_wrong_arguments_are_errors(options, message, corner_map, bright):
    with pytest.raises(UsageError, match=message):
        score_maps(Corner(), bright, maps_of(corner_map), **options)


@pytest.mark.parametrize("count", [2, 4])
def test_maps_of_other_images_are_refused(count, corner_map, bright):
    with pytest.raises(UsageError, match="3 maps were given for a different number of images"):
        score_maps(Corner(), torch.cat([bright, bright])[:count], maps_of(corner_map))
