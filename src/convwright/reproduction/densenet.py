"""What "Densely Connected Convolutional Networks" prints (Huang et al. 2017, arXiv 1608.06993)."""

from convwright.arch.layers import Conv, Linear
from convwright.reproduction.claim import Claim, Difference, PaperClaims, costs, params

# Table 2: network, growth rate, depth, parameters in millions.
TABLE_2 = (
    ("densenet_l40_k12", "DenseNet (k = 12), L = 40", "1.0"),
    ("densenet_l100_k12", "DenseNet (k = 12), L = 100", "7.0"),
    ("densenet_l100_k24", "DenseNet (k = 24), L = 100", "27.2"),
    ("densenet_bc_l100_k12", "DenseNet-BC (k = 12), L = 100", "0.8"),
    ("densenet_bc_l250_k24", "DenseNet-BC (k = 24), L = 250", "15.3"),
    ("densenet_bc_l190_k40", "DenseNet-BC (k = 40), L = 190", "25.6"),
)
# Of Table 2's other networks, those whose parameters are ours to count.
BASELINES = (
    ("cifar_resnet110", "ResNet, L = 110", "1.7"),
    ("cifar_resnet110|stochastic_depth:0.5", "ResNet with stochastic depth, L = 110", "1.7"),
    ("cifar_preact_resnet164", "ResNet (pre-activation), L = 164", "1.7"),
    ("cifar_preact_resnet1001", "ResNet (pre-activation), L = 1001", "10.2"),
    ("wrn_16_8", "Wide ResNet, 16 layers, 8 times as wide", "11.0"),
    ("wrn_28_10", "Wide ResNet, 28 layers, 10 times as wide", "36.5"),
)
# Section 3: input maps of a layer, k0 + k (l - 1), for the last layer of some dense blocks.
BLOCKS = (
    ("densenet121", "dense1", "DenseNet-121, block 1"),
    ("densenet121", "dense4", "DenseNet-121, block 4"),
    ("densenet_l40_k12", "dense3", "DenseNet (k = 12), L = 40, block 3"),
)


def input_maps(expression: str, stage: str) -> int:
    """Return the number of maps that the last layer of a dense block reads, counted on its layer graph."""
    found = next(part for part in costs(expression).stages if part.name == stage)
    _, _, block = found.blocks[-1]
    return next(row.input[0] for row in block.layers if isinstance(row.layer, Conv))


def formula_maps(expression: str, stage: str) -> int:
    """Return the same number by the paper's formula: k0 + k (l - 1)."""
    found = next(part for part in costs(expression).stages if part.name == stage)
    growth = int(getattr(found.blocks[0][1], "growth"))  # noqa: B009
    return found.input[0] + growth * (len(found.blocks) - 1)


def filters_only(expression: str) -> float:
    """Millions of parameters of convolutions and linear layers."""
    return sum(row.params for row in costs(expression).layers if isinstance(row.layer, Conv | Linear)) / 1e6


_THOUSAND = Difference(
    "quoted from another paper; without the parameters of batch normalisation, which are 0.15 M, the printed digits "
    "come out",
    lambda: filters_only("cifar_preact_resnet1001"),
)


def _claims() -> tuple[Claim, ...]:
    training = Difference("takes training on CIFAR and SVHN, for which train has the recipe densenet")
    imagenet = Difference("takes training on ImageNet")
    own = Difference("a figure of trained weights")
    return (
        *(
            Claim(
                "Section 3",
                subject,
                "maps the last layer reads, k0 + k(l - 1)",
                str(formula_maps(name, stage)),
                "",
                lambda name=name, stage=stage: input_maps(name, stage),  # type: ignore[misc]
            )
            for name, stage, subject in BLOCKS
        ),
        *(
            Claim("Table 2", subject, "parameters", printed, "M", params(name), _THOUSAND if "1001" in name else None)
            for name, subject, printed in TABLE_2 + BASELINES
        ),
        Claim("Table 2", "all networks", "error on C10, C10+, C100, C100+, SVHN", "", "%", None, training),
        Claim("Table 3", "DenseNet-121, 169, 201, 264", "top-1 and top-5 error", "", "%", None, imagenet),
        Claim("Figure 5", "DenseNet (k = 12), L = 40", "mean absolute weight by source layer", "", "", None, own),
    )


CLAIMS = PaperClaims("densenet", "Densely Connected Convolutional Networks", _claims())
