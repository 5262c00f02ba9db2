"""A small network of every family and block, quick enough to run for real."""

TINY = {
    "dense-basic": "densenet_l10_k4",
    "dense-bottleneck": "densenet_bc_l16_k8|resolution:16",
    "residual-basic": "cifar_seresnet8",
    "residual-bottleneck": "resnet50|fit:32|scale:d=0.3,w=0.125|classes:10",
    "se-bottleneck-v1": "seresnet50_v1|fit:32|scale:d=0.3,w=0.125|classes:10",
    "mbconv": "efficientnet_b0|fit:32|scale:d=0.4,w=0.25|classes:10",
}
PLACEMENTS = ("standard", "pre", "post", "identity")
RECALIBRATED = {
    f"{name}-{placement}": f"{expression}|se:4,placement={placement},least=2"
    for name, expression in TINY.items()
    for placement in PLACEMENTS
}
"""The same with squeeze-and-excitation in each of its places."""
