"""Networks named by pattern, and what they carry: papers and printed results."""

import pytest

import convwright as cw
from convwright.arch import registry
from convwright.errors import NetworkError


@pytest.mark.parametrize(
    ("spelling", "name", "layers", "compression", "stem"),
    [
        ("DenseNet-L40-k12", "densenet_l40_k12", 12, 1.0, 16),
        ("DenseNet-BC-L100-k12", "densenet_bc_l100_k12", 16, 0.5, 24),
        ("densenet-bc-l52-k6", "densenet_bc_l52_k6", 8, 0.5, 12),
        ("densenet_bc_l40_k12_c0.7", "densenet_bc_l40_k12_c0.7", 6, 0.7, 24),
        ("densenet_b_l40_k12", "densenet_b_l40_k12", 6, 1.0, 16),
        ("densenet_c_l40_k12", "densenet_c_l40_k12", 12, 0.5, 16),
        ("densenet_l7_k1", "densenet_l7_k1", 1, 1.0, 16),
    ],
)
def test_densenets_by_pattern(spelling: str, name: str, layers: int, compression: float, stem: int) -> None:
    network = cw.network(spelling)
    assert network.name == name
    assert [stage.repeats for stage in network.stages] == [layers, 1, layers, 1, layers]
    assert network.stages[1].block.compression == compression
    assert network.stem.out == stem
    assert (network.resolution, network.classes) == (32, 10)


@pytest.mark.parametrize("depth", [8, 14, 26, 164])
@pytest.mark.parametrize("prefix", ["", "se"])
def test_cifar_resnets_by_pattern(depth: int, prefix: str) -> None:
    network = cw.network(f"cifar-{prefix}resnet-{depth}")
    assert network.name == f"cifar_{prefix}resnet{depth}"
    assert [stage.repeats for stage in network.stages] == [(depth - 2) // 6] * 3
    assert cw.network(f"cifar_resnet{depth}|se:{16 if prefix else 'none'}") == network


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("densenet_bc_l101_k12", r"depth L must be 4 \+ a multiple of 6 .*nearest depth is 100"),
        ("densenet_l41_k12", r"4 \+ a multiple of 3 .*nearest depth is 40"),
        ("densenet_bc_l4_k12", "nearest depth is 10"),
        ("densenet_l0_k12", "nearest depth is 7"),
        ("densenet_l40_k0", "k at least 1"),
        ("densenet_bc_l100_k12_c1.5", "compression is a factor above 0 and at most 1, not 1.5"),
        ("densenet_bc_l100_k12_c0", "compression is a factor above 0"),
        ("densenet_bc_l100_k12_c1.2.3", "'1.2.3' is not a compression factor"),
        ("densenet_l400000_k12", "blocks are too many"),
        ("cifar_resnet21", r"depth must be 6n\+2 with n at least 1; the nearest is 20"),
        ("cifar_seresnet2", r"cifar_seresnet2: depth must be 6n\+2 .*nearest is 8"),
        ("cifar_resnet0", "nearest is 8"),
        ("cifar_resnet6000000002", "blocks are too many"),
        ("densenet_bd_l100_k12", "unknown network 'densenet_bd_l100_k12'; the nearest are densenet_"),
        ("cifar_resnet", "nearest are .*cifar_resnet<6n"),
    ],
)
def test_impossible_members_are_refused_with_a_possible_one(name: str, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        cw.network(name)


def test_every_family_is_listed() -> None:
    families = {family for family, _ in registry.names()}
    assert {
        "DenseNet",
        "DenseNet (CIFAR)",
        "ResNet",
        "SE-ResNet",
        "EfficientNet",
        "VGG",
        "ResNeXt",
        "MobileNet",
    } <= families
    assert len(registry.patterns()) == 5


@pytest.mark.parametrize(
    ("name", "dataset", "metric", "value"),
    [
        ("densenet121", "ImageNet", "top-1 error", 25.02),
        ("densenet264", "ImageNet", "top-5 error", 6.12),
        ("densenet_bc_l190_k40", "CIFAR-100+", "error", 17.18),
        ("densenet_l40_k12", "SVHN", "error", 1.79),
        ("resnet50_v1", "ImageNet", "top-1 error", 24.80),
        ("seresnet50_v1", "ImageNet", "top-1 error", 23.29),
        ("seresnet152_v1", "ImageNet", "top-5 error", 5.73),
        ("cifar_resnet110", "CIFAR-10+", "error", 6.43),
        ("efficientnet_b7", "ImageNet", "top-1 accuracy", 84.3),
        ("efficientnet_b0", "ImageNet", "top-5 accuracy", 93.3),
    ],
)
def test_printed_results(name: str, dataset: str, metric: str, value: float) -> None:
    assert [r.value for r in cw.network(name).results if (r.dataset, r.metric) == (dataset, metric)] == [value]


@pytest.mark.parametrize("name", ["densenet161", "resnet50", "cifar_seresnet20"])
def test_no_result_is_made_up_where_none_was_printed(name: str) -> None:
    assert cw.network(name).results == ()


@pytest.mark.parametrize(
    ("operator", "kept"),
    [
        ("classes:10", True),
        ("channels:1", True),
        ("scale:d=1", True),
        ("se:none", True),
        ("se:16", False),
        ("scale:w=2", False),
        ("phi:1", False),
        ("fit:32", False),
        ("resolution:160", False),
    ],
)
def test_results_stay_only_with_the_network_they_were_measured_on(operator: str, kept: bool) -> None:
    plain, changed = cw.network("resnet50_v1"), cw.network(f"resnet50_v1|{operator}")
    assert changed.results == (plain.results if kept else ())
    assert changed.papers == plain.papers


def test_the_papers_of_a_network() -> None:
    assert [paper.arxiv for paper in cw.network("seresnet50").papers] == ["1512.03385", "1709.01507"]
    assert [paper.arxiv for paper in cw.network("efficientnet_l2").papers] == ["1905.11946", "1911.04252"]
    assert str(cw.network("densenet121").papers[0]).startswith("Huang et al., Densely Connected")
