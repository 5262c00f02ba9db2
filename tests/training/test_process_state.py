"""The state of the process that training changes, and puts back."""

import pytest
import torch

from convwright.training.process_state import _restorer_of_gpu_settings


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="torch has one setting for both")
def test_tf32_set_apart_for_convolutions_and_recurrent_layers_is_put_back() -> None:
    cudnn = torch.backends.cudnn
    before = cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision
    try:
        cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision = "tf32", "ieee"
        restore = _restorer_of_gpu_settings()
        cudnn.allow_tf32 = False
        restore()
        assert (cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision) == ("tf32", "ieee")
    finally:
        cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision = before
