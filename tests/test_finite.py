"""Outputs that are not numbers are refused, whatever library computed them."""

import numpy as np
import pytest
import torch

from convwright.errors import NotFiniteError
from convwright.finite import check_finite


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("convert", [np.asarray, torch.tensor])
def test_values_that_are_not_finite_are_refused(bad, convert):
    outputs = convert([[0.0, 1.0], [bad, 0.0], [1.0, 2.0]])
    with pytest.raises(NotFiniteError, match=r"^run: the outputs for 1 of 3 images are NaN or infinite"):
        check_finite(outputs, "run")


@pytest.mark.parametrize("convert", [np.asarray, torch.tensor])
@pytest.mark.parametrize("values", [[[0.0, -1e38]], np.zeros((0, 3)), [1.0]])
def test_finite_values_are_returned_as_they_are(values, convert):
    outputs = convert(values)
    assert check_finite(outputs) is outputs
