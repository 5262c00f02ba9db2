"""scale search and scale family: tables, JSON, pages; and wrong use."""

import json
import signal
import subprocess
import sys
import threading

import pytest
import torch

import convwright as cw
from convwright.errors import ArgumentError, UsageError
from convwright.machine import available_cores
from convwright.options import options_of
from convwright.scaling.network_family import Family
from convwright.scaling.task_runner import TaskRunner
from convwright.training.interrupt import Interrupted

SEARCH = ("scale", "search", "cifar_seresnet8|scale:w=0.5", "--data", "digits", "--tolerance", "0.2", "--rungs", "2")
BASE = "cifar_seresnet8|scale:w=0.5"
OPTIONS = {"tolerance": 0.2, "rungs": 2, "epochs": 0.6}
"""The options of `SEARCH`, as Python has them."""
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
    found = json.loads(convwright(*small, "--resolution", "14").out)
    assert {one["network"]["resolution"] for one in found["entrants"]} > {14}
    assert found["fields"] == {"crop": 0}
    assert json.loads(convwright(*small, "--resolution", "14", "--set", "crop=1").out)["fields"] == {"crop": 1}
    assert json.loads(convwright(*small, "--resolution", "16").out)["fields"] == {}


def test_a_search_ends_with_a_ranking_and_a_verdict(convwright, searched):
    answer = convwright(*SEARCH, "--epochs", "0.6", "--out", searched)
    assert "Best is alpha" in answer.out
    assert "validation accuracy" in answer.out
    assert "training runs were finished before" in answer.err
    found = json.loads((searched / "search.json").read_text())
    assert found["finished"]
    best = found["networks"][0]
    assert best["mean"] == pytest.approx(sum(best["accuracies"].values()) / 2)
    assert cw.cost(cw.network(best["network"])).macs == best["macs"]


def test_a_family_uses_what_a_search_found(convwright, searched):
    best = json.loads((searched / "search.json").read_text())["networks"][0]["place"]
    found = json.loads(convwright("scale", "family", "--search", searched, "--phi", "2", "--json").out)
    assert {name: found[name] for name in ("alpha", "beta", "gamma")} == best
    assert {one["rule"] for one in found["networks"]} >= {"compound", "width alone"}


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
    ("options", "message", "status"),
    [
        (("--step", "0"), "--step: must be 0.01 to 1, not 0", 2),
        (("--epochs", "0"), "--epochs: must be above 0", 2),
        (("--set", "speed=9"), "write FIELD=VALUE with a field of the recipe", 2),
        (("--set", "learning_rate=fast"), "--set: learning_rate: ", 2),
        (("--recipe", "slow"), "--recipe: must be 'densenet' or", 2),
        (("--workers", "99"), "--workers: must be 1 to ", 2),
        (("--workers", "2", "--cluster", "local"), "--workers: cannot be combined with a cluster", 2),
        (("--target", "inf"), "--target: must be above 1 and 16 or less", 2),
        (("--storage", "nonsense"), "--storage: must be the URL of a database", 2),
        (("--storage", "postgresql://me@127.0.0.1:1/none"), "does not answer", 1),
        (("--tolerance", "0.0001"), "no point of the grid", 2),
        (("--cluster", "127.0.0.1:1", "--cores-per-task", "0"), "1 to 1000000, not 0", 2),
    ],
)
def test_wrong_searches_are_one_line(convwright, tmp_path, options, message, status):
    answer = convwright(*SEARCH, "--out", tmp_path / "study", *options)
    assert answer.status == status
    assert message in answer.message
    assert not (tmp_path / "study").exists(), "nothing is left behind"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name the network to scale, or give a search"),
        (("resnet18", "--train"), "--data: training needs images"),
        (("--search", "nowhere"), "--search: nowhere has no search.json"),
        (("resnet18", "--alpha", "0.5"), "--alpha: must be 1 to 100, not 0.5"),
        (("resnet18", "--phi", "40"), "--phi: must be a whole number, 0 to 16, not 40"),
    ],
)
def test_wrong_families_are_one_line(convwright, arguments, message):
    answer = convwright("scale", "family", *arguments)
    assert answer.status == 2
    assert message in answer.message


def test_another_search_in_the_same_folder_is_refused(convwright, searched):
    before = (searched / "search.json").read_bytes()
    answer = convwright(*SEARCH, "--epochs", "2", "--out", searched)
    assert answer.status == 1
    assert "schedule.epochs is 0.6 there and 2.0 here; use another folder" in answer.message
    assert (searched / "search.json").read_bytes() == before


@pytest.mark.parametrize(
    ("content", "message"),
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
def test_a_damaged_search_is_one_line(convwright, tmp_path, content, message):
    (tmp_path / "search.json").write_bytes(content)
    answer = convwright("scale", "family", "--search", tmp_path)
    assert (answer.status, answer.out) == (2, "")
    assert str(tmp_path / "search.json") in answer.message
    assert message in answer.message


def test_the_damage_is_what_is_refused(convwright, tmp_path):
    (tmp_path / "search.json").write_bytes(PLACE % b"1.2")
    assert convwright("scale", "family", "--search", tmp_path).status == 0


def process_state():
    """Return what a call must leave as it was."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    return available_cores(), torch.get_num_threads(), handlers, torch.random.get_rng_state().tolist()


def test_python_resumes_the_search_of_the_command(convwright, searched):
    before = process_state()
    search = cw.search(BASE, "digits", **OPTIONS, out=searched)
    assert process_state() == before
    command = convwright(*SEARCH, "--epochs", "0.6", "--out", searched)
    assert str(search) == command.out.rstrip("\n")
    printed = json.loads(convwright(*SEARCH, "--epochs", "0.6", "--out", searched, "--json").out)
    assert printed == search.to_dict() == json.loads((searched / "search.json").read_text())


def test_a_search_has_fields_and_shows_itself(searched, tmp_path):
    search = cw.search(BASE, "digits", **OPTIONS, out=searched)
    best = search.networks[0]
    assert (search.best.alpha, search.best.beta, search.best.gamma) == tuple(best.coordinates.values())
    assert len(search.table().rows) == len(search.networks)
    assert type(search.figure()).__name__ == "Figure"
    assert "<table>" in search._repr_html_()
    search.save_html(tmp_path / "search.html")
    assert best.name in (tmp_path / "search.html").read_text()


def test_a_family_has_the_coefficients_of_a_search(searched):
    search = cw.search(BASE, "digits", **OPTIONS, out=searched)
    family = cw.family("cifar_resnet20", coefficients=search.best, phi=range(3))
    assert family.rule == search.best
    assert {member.phi for member in family} == {0, 1, 2}
    same = [cw.family(search=value, phi=1).to_dict() for value in (search, searched, str(searched))]
    assert same[0] == same[1] == same[2]
    assert cw.family(search=searched).data.spec == "digits"


def test_a_dry_run_in_python_lists_candidates(convwright, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    candidates = cw.search(BASE, cw.open_data("digits"), **OPTIONS, fields={"progressive": 0}, dry_run=True)
    assert candidates.to_dict()["fields"] == {"progressive": 0, "crop": 0}
    assert "times the base" in candidates._repr_html_()
    with pytest.raises(UsageError, match="a dry run trains nothing"):
        candidates.best  # noqa: B018
    answer = convwright(*SEARCH, "--epochs", "0.6", "--set", "progressive=0", "--dry-run", "--json")
    assert json.loads(answer.out) == candidates.to_dict()
    assert list(tmp_path.iterdir()) == []


def test_a_family_is_trained_from_python_in_a_thread(tmp_path):
    """The family is fitted to the data, interrupted and resumed by an equal call."""
    family = cw.family("cifar_resnet8|scale:w=0.5", alpha=1, beta=1.3, gamma=1.1, phi=1, singles=False)
    options = {"epochs": 0.2, "seeds": 2, "out": tmp_path / "family"}
    run, done = TaskRunner.run, []

    def interrupted(self, task):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(task)
        return run(self, task)

    before = process_state()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TaskRunner, "run", interrupted)
        with pytest.raises(Interrupted, match="finished training runs are kept, and the same command or call resumes"):
            family.train("digits", **options)
    assert process_state() == before
    found = []
    thread = threading.Thread(target=lambda: found.append(family.train("digits", **options)))
    thread.start()
    thread.join()
    (result,) = found
    assert len(result.findings.trainings) == 4
    assert result.findings.split == "test"
    assert [network.resolution for network in result.networks if network.phi == 0] == [8]
    assert type(result.figure()).__name__ == "Figure"
    assert result.to_dict() == json.loads((tmp_path / "family" / "family.json").read_text())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"step": 2}, "step: must be 0.01 to 1, not 2"),
        ({"epochs": float("nan")}, "epochs: must be above 0"),
        ({"seeds": 1.5}, "seeds: must be a whole number"),
        ({"fields": {"speed": 9}}, "fields: 'speed': write FIELD=VALUE with a field of the recipe"),
        ({"fields": {"learning_rate": "fast"}}, "fields: learning_rate: "),
        ({"workers": 99}, "workers: must be 1 to "),
        ({"workers": 2, "cluster": "local"}, "workers: "),
        ({"storage": "nonsense"}, "storage: must be the URL of a database"),
        ({"data": "nowhere"}, "data: no folder nowhere was found"),
        ({"base": "nonsense"}, "base: unknown network 'nonsense'"),
        ({"out": "/proc/study"}, "out: /proc/study"),
    ],
)
def test_wrong_arguments_of_a_search_are_named(arguments, message, tmp_path):
    with pytest.raises(ArgumentError) as error:
        cw.search(**{"base": BASE, "data": "digits", "tolerance": 0.2, "out": tmp_path / "study"} | arguments)
    assert message in str(error.value)
    assert not (tmp_path / "study").exists(), "nothing is left behind"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "base: name the network to scale, or give a search"),
        ({"base": "resnet18", "phi": [0, 17]}, "phi: must be whole numbers from 0 to 16, not 17"),
        ({"base": "resnet18", "phi": -1}, "phi: must be a whole number, 0 to 16, not -1"),
        ({"base": "resnet18", "search": "nowhere"}, "search: nowhere has no search.json"),
    ],
)
def test_wrong_arguments_of_a_family_are_named(arguments, message):
    with pytest.raises(ArgumentError) as error:
        cw.family(**arguments)
    assert message in str(error.value)


def test_training_a_family_needs_images():
    with pytest.raises(ArgumentError, match="data: training needs images"):
        cw.family("resnet18", phi=1).train()


def test_a_search_with_one_candidate_has_nothing_to_compare(convwright, tmp_path):
    alone = ("scale", "search", "cifar_resnet8", "--data", "digits", "--step", "0.2", "--seeds", "1", "--rungs", "1")
    listed = convwright(*alone, "--dry-run")
    assert "is the only candidate, so there is nothing to compare" in " ".join(listed.out.split())
    assert "1 candidate for" in listed.out
    assert "each with 1 seed:" in " ".join(listed.out.split())
    trained = convwright(*alone, "--epochs", "0.1", "--out", tmp_path / "study")
    assert trained.status == 0, trained.err
    assert "only candidate" in trained.err
    assert "There was nothing to compare" in " ".join(trained.out.split())
    assert "Best" not in trained.out


def test_listing_candidates_needs_no_package_for_figures(tmp_path):
    code = (
        "import sys; sys.modules['plotly'] = None\n"
        "import convwright as cw\n"
        "found = cw.search('cifar_resnet8', 'digits', dry_run=True)\n"
        "print(found); print(found._repr_html_()); print(found.to_json())\n"
        "print(cw.family('cifar_resnet8', phi=1, data='digits')._repr_html_())\n"
        "print(cw.plan('cifar_resnet8', phi=1)._repr_html_())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert "<table>" in done.stdout


TRAINING = [each for each in options_of(Family.train) if each.kinds and each.name != "self"]
LISTING = {each.name for each in options_of(cw.family)}


@pytest.mark.parametrize("option", [each for each in TRAINING if each.name not in LISTING], ids=lambda each: each.name)
def test_options_of_training_need_train(convwright, option):
    value = [] if bool in option.kinds else [option.choices[0] if option.choices else "2"]
    answer = convwright("scale", "family", "cifar_resnet8", option.flag, *value)
    assert answer.status == 2
    assert answer.message.endswith(f"{option.flag}: is about training; it needs --train")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("search", "cifar_resnet8", "--data", "digits", "--rungs", "1", "--keep", "3"), "--keep: needs 2 rungs"),
        (("search", "cifar_resnet8", "--data", "digits", "--cores-per-task", "2"), "--cores-per-task: needs a cluster"),
        (("family", "cifar_resnet8", "--resolution", "16"), "--resolution: needs data"),
        (("plan", "cifar_resnet8", "--phi", "1", "--no-compare"), "needs a budget"),
        (("plan", "cifar_resnet8", "--width", "2", "--beta", "1.2"), "--beta: needs a budget or phi"),
        (("plan", "cifar_resnet8", "--phi", "1", "--threads", "2"), "--threads: is about measuring latency"),
        (("plan", "cifar_resnet8", "--budget", "macs<=90M", "--remeasure"), "--remeasure: is about measuring latency"),
    ],
)
def test_other_options_without_effect_are_refused_too(convwright, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    answer = convwright("scale", *arguments)
    assert answer.status == 2
    assert message in answer.message
    assert list(tmp_path.iterdir()) == []
