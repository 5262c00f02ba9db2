"""Drawings: what they show, and that nothing is clipped or written over something else."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings

import convwright as cw
from convwright.arch.diagram import diagram
from convwright.arch.layers import Add, Combinator, Concat, Conv, Gate, GlobalPool, Identity, Pool, Seq
from convwright.arch.units import human, human_bytes, share
from tests_of_networks import networks

SVG = "{http://www.w3.org/2000/svg}"
NAMES = [
    "resnet50",
    "seresnet18",
    "densenet121",
    "densenet_bc_l100_k12",
    "efficientnet_b0",
    "efficientnet_b7|se:16,placement=post",
    "densenet121|se:16,placement=identity|scale:d=2.5,w=3",
    "resnet101_v1|se:16,placement=pre|phi:1.5|fit:32|classes:10",
    "cifar_resnet1202",
]
"""The narrowest common font that a reader may have is not narrower than this, a character and pixel of size."""
