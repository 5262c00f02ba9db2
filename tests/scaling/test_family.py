"""Families: phi = 0, 1, 2, ... and networks of the same multiply-adds that are scaled in one dimension."""

from itertools import pairwise

import pytest

import convwright as cw
from convwright.errors import ArgumentError, UsageError
from convwright.scaling.family import CLOSE, compound_family, distinct, single_families
from convwright.scaling.rules import Compound, Factors
from convwright.scaling.worker import open_study

BASES = ("efficientnet_b0", "cifar_resnet20", "cifar_seresnet20", "densenet_bc_l40_k12", "mobilenet_v2")


@pytest.mark.parametrize("name", BASES)
def test_members_are_the_networks_of_phi(name):
    base = cw.network(name)
    members = compound_family(base, Compound(), 3)
    assert members[0].network == base
    assert [member.phi for member in members] == [0, 1, 2, 3]
    for phi, member in enumerate(members[1:], 1):
        assert member.network == cw.compound(base, phi) or member.network == Compound().at(phi).apply(base)
        assert member.macs == cw.cost(member.network).macs
    assert all(small.macs < large.macs for small, large in pairwise(members))


@pytest.mark.parametrize("name", BASES)
def test_single_dimensions_meet_the_multiply_adds_and_touch_nothing_else(name):
    base = cw.network(name)
    members = compound_family(base, Compound(), 2)
    others, missing = single_families(base, members)
    assert len(others) + len(missing) == 6
    wanted = {member.phi: member.macs for member in members}
    for one in others:
        assert abs(one.macs / wanted[one.phi] - 1) <= CLOSE
        changed = [factor != 1 for factor in one.factors]
        assert sum(changed) == 1
        assert one.rule.startswith(("depth", "width", "resolution")[changed.index(True)])
    assert len({one.network for one in [*members, *others]}) == len(members) + len(others), "none is trained twice"


def test_a_single_dimension_that_equals_the_compound_one_is_reported():
    base = cw.network("cifar_seresnet8|resolution:28")
    members = compound_family(base, Compound(2, 1, 1), 1)
    others, missing = single_families(base, members)
    assert "depth alone" not in {one.rule for one in others}
    assert any("depth alone at phi = 1 is the same network as a compound one" in line for line in missing)


def test_factors_of_a_single_dimension_are_the_nearest_to_the_target():
    base = cw.network("cifar_resnet20|resolution:28")
    others, _ = single_families(base, compound_family(base, Compound(2, 1, 1.0001), 1))
    resolution = next(one for one in others if one.rule == "resolution alone")
    assert Factors(1, 1, resolution.factors.resolution).work == pytest.approx(2, rel=0.15)


def test_members_that_rounding_makes_equal_are_trained_once():
    members = compound_family(cw.network("cifar_seresnet8|resolution:28"), Compound(1.3, 1, 1), 3)
    kept, dropped = distinct(members)
    assert [member.phi for member in kept] == [0, 1, 3], "1.3 and 1.69 blocks are both two"
    assert dropped == ["compound at phi = 2 is the same network as at phi = 1"]


def test_phi_has_bounds():
    with pytest.raises(UsageError, match="phi: must be whole numbers from 0 to 16, not 99"):
        compound_family(cw.network("resnet18"), Compound(), 99)


@pytest.mark.parametrize(
    ("name", "value"), [("search", object()), ("coefficients", (1, 2, 3)), ("phi", []), ("coefficients", object())]
)
def test_a_wrong_argument_of_a_family_is_named(name, value):
    with pytest.raises(ArgumentError, match=f"^{name}: must be"):
        cw.family("cifar_resnet8", **{name: value})


def test_a_dry_run_lists_the_candidates_and_has_no_figure():
    found = cw.search("cifar_seresnet8|scale:w=0.5", "digits", tolerance=0.2, dry_run=True)
    assert [row[0] for row in found.table().rows] == [each.name for each in found.experiment.candidates]
    assert len(found.table(2).rows) == 2
    with pytest.raises(UsageError, match="a dry run trains nothing, so there is no figure"):
        found.figure()


@pytest.mark.parametrize("place", [{"workers": 2}, {"cluster": "local"}])
def test_a_block_of_a_notebook_is_refused_for_other_processes(tmp_path, monkeypatch, place):
    monkeypatch.setattr("convwright.scaling.preparation.foreign_types", lambda data: ["__main__.Here"])
    monkeypatch.setattr("convwright.scaling.preparation.available_cores", lambda: [0, 1])
    with pytest.raises(ArgumentError, match=f"^{next(iter(place))}: other processes cannot load Here"):
        cw.search("cifar_seresnet8|scale:w=0.5", "digits", tolerance=0.2, out=tmp_path / "study", **place)
    assert not (tmp_path / "study").exists()


def test_the_size_of_the_cache_reaches_the_workers(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr("convwright.scaling.study.data_opener", lambda experiment, cache_gb: given.append(cache_gb))
    monkeypatch.setattr("convwright.scaling.worker.data_opener", lambda experiment, cache_gb: given.append(cache_gb))
    monkeypatch.setattr("convwright.scaling.study.work", lambda *_: None)
    monkeypatch.setattr("convwright.scaling.study.write_findings", lambda *_: None)
    data = cw.open_data("digits", cache_gb=3.0)
    cw.search("cifar_seresnet8|scale:w=0.5", data, tolerance=0.2, out=tmp_path)
    open_study(tmp_path)
    assert given == [3.0, 3.0]
