"""Axes of positions have marks at whole numbers, whatever the number of positions."""

import itertools

import pytest
import torch

import convwright as cw
from convwright.display.figures import whole_axis
from convwright.explain.excitation import measure_excitations
from convwright.explain.excitation_figures import by_class, by_depth, within_class


@pytest.mark.parametrize("low", [0, 1])
@pytest.mark.parametrize("most", [4, 6, 8])
def test_marks_are_whole_and_inside(low, most):
    for high in [*range(low, 130), 2048]:
        marks = whole_axis(low, high, most)["tickvals"]
        assert 1 <= len(marks) <= most
        assert all(isinstance(mark, int) and low <= mark <= high for mark in marks)
        assert len({second - first for first, second in itertools.pairwise(marks)}) <= 1
    assert whole_axis(1, 3)["tickvals"] == [1, 2, 3]
    assert whole_axis(0, 63, 6)["tickvals"] == [0, 20, 40, 60]


@pytest.mark.parametrize("network", ["cifar_seresnet8", "cifar_seresnet14|scale:w=0.25"])
def test_figures_of_excitations_have_whole_marks(network):
    module = cw.build(network, seed=0)
    images = torch.randn(6, 3, 32, 32)
    found = measure_excitations(module, [(images, torch.tensor([0, 1, 0, 1, 0, 1]))], ("a", "b"))
    for figure in (by_class(found, (0, 1)), within_class(found, (0, 1)), by_depth(found, 0.9)):
        for panel in figure.panels:
            first, last = panel.plot.layout.xaxis.range
            marks = panel.plot.layout.xaxis.tickvals
            assert marks
            assert all(float(mark).is_integer() and first < mark < last for mark in marks)
