"""scale search and scale family: tables, JSON, pages; and wrong use."""

import json

import pytest

import convwright as cw

SEARCH = ("scale", "search", "cifar_seresnet8|scale:w=0.5", "--data", "digits", "--tolerance", "0.2", "--rungs", "2")
PLACE = (
    b'{"base": "cifar_resnet8|fit:8", "data": "digits", "resolution": 8,'
    b' "networks": [{"place": {"alpha": %s, "beta": 1.1, "gamma": 1.1},'
    b' "accuracies": [0.5, 0.6], "diverged": 0}]}'
)


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A search that has ended."""
    from convwright.cli.main import run

    folder = tmp_path_factory.mktemp("search")
    page = folder / "search.html"
    assert run([*SEARCH, "--epochs", "0.6", "--out", str(folder), "--html", str(page)]) == 0
    return folder


def test_a_dry_run_lists_candidates_and_trains_nothing(convwright, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = convwright(*SEARCH, "--dry-run")
    assert answer.status == 0, answer.err
    assert "times the base" in answer.out
    assert "candidates for" in answer.out
    assert list(tmp_path.iterdir()) == []


def test_networks_are_augmented_alike(convwright):
    """A base of 14 px is too small for random shifts; then its larger candidates are not shifted either."""
    small = ("scale", "search", "cifar_resnet8", "--data", "digits", "--tolerance", "0.2", "--dry-run", "--json")
    told = json.loads(convwright(*small, "--resolution", "14").out)
    assert {one["network"]["resolution"] for one in told["entrants"]} > {14}
    assert told["fields"] == {"crop": 0}
    assert json.loads(convwright(*small, "--resolution", "14", "--set", "crop=1").out)["fields"] == {"crop": 1}
    assert json.loads(convwright(*small, "--resolution", "16").out)["fields"] == {}


def test_a_search_ends_with_a_ranking_and_a_plain_sentence(convwright, searched):
    answer = convwright(*SEARCH, "--epochs", "0.6", "--out", searched)
    assert "Best is alpha" in answer.out
    assert "validation accuracy" in answer.out
    assert "trainings have ended already" in answer.err
    found = json.loads((searched / "search.json").read_text())
    assert found["finished"]
    best = found["networks"][0]
    assert best["mean"] == pytest.approx(sum(best["accuracies"].values()) / 2)
    assert cw.cost(cw.network(best["network"])).macs == best["macs"]


def test_a_family_takes_what_a_search_found(convwright, searched):
    best = json.loads((searched / "search.json").read_text())["networks"][0]["place"]
    told = json.loads(convwright("scale", "family", "--search", searched, "--phi", "2", "--json").out)
    assert {name: told[name] for name in ("alpha", "beta", "gamma")} == best
    assert {one["rule"] for one in told["networks"]} >= {"compound", "width alone"}


def test_a_family_is_listed_without_data(convwright):
    answer = convwright("scale", "family", "efficientnet_b0", "--phi", "2")
    assert answer.status == 0, answer.err
    assert "resolution alone" in answer.out


def test_a_family_is_trained_and_drawn(convwright, tmp_path):
    answer = convwright(
        *("scale", "family", "cifar_resnet8|scale:w=0.5", "--alpha", "1", "--beta", "1.3", "--gamma", "1.1"),
        *("--phi", "1", "--train", "--data", "digits", "--epochs", "0.3", "--seeds", "2", "--keep-runs"),
        *("--out", tmp_path / "family", "--html", tmp_path / "family.html"),
    )
    assert answer.status == 0, answer.err
    assert "test accuracy" in answer.out
    assert "compound scaling's lead over" in answer.out
    found = json.loads((tmp_path / "family" / "family.json").read_text())
    assert found["split"] == "test"
    kept = sorted((tmp_path / "family" / "trials").iterdir())
    assert len(kept) == len(found["trainings"])
    evaluated = json.loads(convwright("evaluate", kept[0], "--json").out)
    shown = next(one for one in found["trainings"] if one["test_accuracy"] == evaluated["accuracy"])
    assert shown["seed"] == 0


@pytest.mark.parametrize(
    ("options", "told", "status"),
    [
        (("--step", "0"), "step lies between", 2),
        (("--epochs", "0"), "--epochs must be a number above 0", 2),
        (("--set", "speed=9"), "write FIELD=VALUE with a field of the recipe", 2),
        (("--set", "learning_rate=fast"), "--set learning_rate: ", 2),
        (("--recipe", "slow"), "no recipe is named 'slow'", 2),
        (("--workers", "99"), "--workers 99: this machine has", 2),
        (("--workers", "2", "--cluster", "local"), "give one of the two", 2),
        (("--target", "inf"), "at most 16", 2),
        (("--storage", "nonsense"), "no database's URL", 2),
        (("--storage", "postgresql://me@127.0.0.1:1/none"), "does not answer", 1),
        (("--tolerance", "0.0001"), "no point of the grid", 2),
        (("--cluster", "127.0.0.1:1", "--cores-per-trial", "0"), "1 or more, not 0", 2),
    ],
)
def test_wrong_searches_are_one_line(convwright, tmp_path, options, told, status):
    answer = convwright(*SEARCH, "--out", tmp_path / "study", *options)
    assert answer.status == status
    assert told in answer.message
    assert options[0] == "--cluster" or not (tmp_path / "study").exists(), "nothing is left behind"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "name the BASE"),
        (("resnet18", "--train"), "--train needs --data"),
        (("--search", "nowhere"), "--search nowhere: no search.json in it"),
        (("resnet18", "--alpha", "0.5"), "alpha must be a number from 1 to 100, not 0.5"),
        (("resnet18", "--phi", "40"), "phi goes from 0"),
    ],
)
def test_wrong_families_are_one_line(convwright, arguments, told):
    answer = convwright("scale", "family", *arguments)
    assert answer.status == 2
    assert told in answer.message


def test_another_search_in_the_same_folder_is_refused(convwright, searched):
    before = (searched / "search.json").read_bytes()
    answer = convwright(*SEARCH, "--epochs", "2", "--out", searched)
    assert answer.status == 1
    assert "schedule.epochs is 2.0, and it was begun with 0.6; give another --out" in answer.message
    assert (searched / "search.json").read_bytes() == before


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "not readable JSON"),
        (b"[" * 100_000, "not readable JSON"),
        (b"\xff", "not readable JSON"),
        (b"[]", "not the result of a search"),
        (b"{}", "not the result of a search"),
        (b'{"networks": []}', "not the result of a search"),
        (b'{"networks": [{"place": 1}]}', "not the result of a search"),
        (PLACE % b'"1.2"', "not the result of a search"),
        ((PLACE % b"1.2").replace(b'"diverged": 0', b'"diverged": 2'), "best network diverged"),
        (PLACE % b"true", "not the result of a search"),
        (PLACE % b"NaN", "NaN is not a finite number"),
        (PLACE % b"1e999", "not a finite number"),
    ],
)
def test_a_damaged_search_is_one_line(convwright, tmp_path, content, told):
    (tmp_path / "search.json").write_bytes(content)
    answer = convwright("scale", "family", "--search", tmp_path)
    assert (answer.status, answer.out) == (2, "")
    assert str(tmp_path / "search.json") in answer.message
    assert told in answer.message


def test_the_damage_is_what_is_refused(convwright, tmp_path):
    (tmp_path / "search.json").write_bytes(PLACE % b"1.2")
    assert convwright("scale", "family", "--search", tmp_path).status == 0
