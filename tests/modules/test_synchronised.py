"""Batch normalisation over two processes computes what `BatchNorm2d` computes on the whole batch."""

import subprocess
import sys

import pytest
import torch

from convwright.modules.synchronised import synchronise

CHANNELS = 3
PROGRAM = """
import sys
import torch
from torch import distributed, nn
from convwright.modules.synchronised import synchronise

rank, folder = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
results = {}
for name, case in torch.load(f"{folder}/cases.pt").items():
    norm = nn.BatchNorm2d(case["maps"].shape[1]).to(case["weights"])
    norm.load_state_dict(case["state"])
    synchronise(norm)
    maps = case["maps"].tensor_split(2)[rank].clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=case["autocast"]):
        output = norm(maps)
    output.backward(case["gradient"].tensor_split(2)[rank])
    results[name] = {
        "output": output.detach(), "maps": maps.grad, "weight": norm.weight.grad, "bias": norm.bias.grad,
        "state": norm.state_dict(),
    }
torch.save(results, f"{folder}/rank{rank}.pt")
distributed.barrier()
distributed.destroy_process_group()  # its threads must not outlive the interpreter
"""
CASES = {
    "float32": (torch.float32, torch.float32, (10, CHANNELS, 5, 4)),
    "float64": (torch.float64, torch.float64, (10, CHANNELS, 5, 4)),
    "bfloat16": (torch.bfloat16, torch.float32, (10, CHANNELS, 5, 4)),
    "bfloat16, one more image than 8 bits count": (torch.bfloat16, torch.float32, (257, CHANNELS, 1, 1)),
    "bfloat16 weights": (torch.bfloat16, torch.bfloat16, (10, CHANNELS, 5, 4)),
}


def case_of(maps_type, weights_type, shape):
    generator = torch.Generator().manual_seed(0)
    maps = (torch.randn(shape, generator=generator, dtype=torch.float64) * 2 + 3).to(maps_type)
    norm = torch.nn.BatchNorm2d(CHANNELS).to(weights_type)
    torch.nn.init.normal_(norm.weight, generator=generator)
    torch.nn.init.normal_(norm.bias, generator=generator)
    gradient = torch.randn(shape, generator=generator, dtype=torch.float64).to(maps_type)
    mixed = maps_type != weights_type
    return {"maps": maps, "gradient": gradient, "state": norm.state_dict(), "weights": weights_type, "autocast": mixed}


@pytest.fixture(scope="module")
def cases():
    return {name: case_of(*parts) for name, parts in CASES.items()}


@pytest.fixture(scope="module")
def found(cases, tmp_path_factory):
    """Both processes' results, put together as those of one batch."""
    folder = tmp_path_factory.mktemp("two")
    torch.save(cases, folder / "cases.pt")
    command = [sys.executable, "-c", PROGRAM]
    processes = [
        subprocess.Popen([*command, str(rank), str(folder)], stderr=subprocess.PIPE, text=True) for rank in (0, 1)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    one, other = (torch.load(folder / f"rank{rank}.pt") for rank in (0, 1))
    for name in cases:
        for part in ("output", "maps"):
            one[name][part] = torch.cat((one[name][part], other[name][part]))
        for part in ("weight", "bias"):
            one[name][part] += other[name][part]
        assert all(torch.equal(value, other[name]["state"][key]) for key, value in one[name]["state"].items())
    return one


@pytest.mark.parametrize("name", CASES)
def test_two_processes_compute_what_one_does(name, cases, found):
    case, ours = cases[name], found[name]
    norm = torch.nn.BatchNorm2d(CHANNELS).to(case["weights"])
    norm.load_state_dict(case["state"])
    maps = case["maps"].clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=case["autocast"]):
        output = norm(maps)
    output.backward(case["gradient"])
    assert ours["output"].dtype == output.dtype == case["maps"].dtype
    coarse = case["maps"].dtype == torch.bfloat16
    near = {"rtol": 2e-2, "atol": 2e-2} if coarse else {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(ours["output"], output.detach(), **near)
    torch.testing.assert_close(ours["maps"], maps.grad, **near)
    for part in ("weight", "bias"):
        expected = getattr(norm, part).grad
        scale = float(expected.abs().max())
        torch.testing.assert_close(ours[part] / scale, expected / scale, **near)
    statistics = near if case["weights"] == torch.bfloat16 else {"rtol": 1e-5, "atol": 1e-6}
    for key, expected in norm.state_dict().items():
        torch.testing.assert_close(ours["state"][key], expected, **statistics)


def test_a_norm_alone_is_torch_s():
    norm = torch.nn.BatchNorm2d(CHANNELS)
    maps = torch.randn(4, CHANNELS, 2, 2)
    expected = torch.nn.BatchNorm2d(CHANNELS)(maps)
    synchronise(norm)
    assert torch.equal(norm(maps), expected)


SINGLE = """
import sys
import torch
from torch import distributed, nn
from convwright.modules.synchronised import synchronise

distributed.init_process_group("gloo", init_method=f"file://{sys.argv[1]}/alone", rank=0, world_size=1)
norm = nn.BatchNorm2d(3)
synchronise(norm)
try:
    norm(torch.ones(1, 3, 1, 1))
except ValueError as error:
    print(error, bool(norm.running_var.isfinite().all()))
"""


def test_one_value_per_channel_is_refused_as_by_torch(tmp_path):
    done = subprocess.run([sys.executable, "-c", SINGLE, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("expected more than one value per channel when training")
    assert done.stdout.strip().endswith("True")
