"""The Python door: what it offers is what the suite does, and a mistake is the command line's in the same words."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

import bnbench
from bnbench import api, measurement
from bnbench.components.architectures import ARCHITECTURES
from bnbench.components.normalisers import NORMALISERS
from bnbench.components.optimisers import OPTIMISERS
from bnbench.components.probes import PROBES
from bnbench.components.rate_schedules import RATE_SCHEDULES
from bnbench.components.reparametrisations import REPARAMETRISATIONS
from bnbench.components.variants import STUDIED, VARIANTS, Affine
from bnbench.data.dataset import DATASETS
from bnbench.errors import UserError
from bnbench.execution.listening import Silent
from bnbench.execution.pipeline import load_pipeline
from bnbench.plan import RunSpec, expand_grid
from bnbench.training.evaluation import EVALUATION_BATCH
from bnbench.training.events import EpochEvaluated
from bnbench.training.loop import Trainer
from bnbench.training.numerics import numerics
from support.command_line import invoke, table_bytes

SHORT = {"training.epochs": 2}
CPU = torch.device("cpu")


def tiny(name="digits_mlp", **more):
    return bnbench.load_problem(name, size="tiny", set=SHORT, **more)


def spec_of(problem, variant="bn_gamma_beta", placements=(), seed=None) -> RunSpec:
    (spec,) = expand_grid(
        problem, DATASETS.get(problem.dataset).identify(), [VARIANTS.get(variant)], placements=placements,
        seeds=problem.seeds[:1] if seed is None else (seed,),
    )  # fmt: skip
    return spec


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two variants from three seeds, trained by one call in this process, and what it returned."""
    path = tmp_path_factory.mktemp("results")
    found = bnbench.run(
        "digits_mlp", ["vanilla", "bn_gamma_beta"], size="tiny", seeds=3, set=SHORT, results=path, workers=0,
        device="cpu", progress=False,
    )  # fmt: skip
    return path, found


# --- the door itself ----------------------------------------------------------------------------------------------


def python(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    return done.stdout


def test_importing_it_imports_next_to_nothing():
    assert python("import bnbench, sys; print({'torch', 'pandas', 'numpy', 'click', 'rich'} & set(sys.modules))") == (
        "set()\n"
    )
    heavy = "import bnbench, sys; bnbench.list_problems(); print({'torch', 'matplotlib', 'click'} & set(sys.modules))"
    assert python(heavy) == "set()\n"


def test_everything_offered_is_there_documented_and_listed():
    assert set(bnbench.__all__) <= set(dir(bnbench))
    for name in bnbench.__all__:
        offered = getattr(bnbench, name)
        assert inspect.getdoc(offered), name
        if inspect.isfunction(offered):
            assert "return" in inspect.signature(offered).parameters or offered.__annotations__["return"], name
    with pytest.raises(AttributeError, match="no attribute 'tune'"):
        bnbench.tune  # noqa: B018


@pytest.mark.parametrize(
    "before",
    ["", "import bnbench.plan\n", "from bnbench.plan import RunSpec\n", "import bnbench.cli\n"],
)
def test_a_name_means_the_same_whatever_was_imported_before(before):
    program = before + "import bnbench; print(bnbench.variant('bn').name, callable(bnbench.plan))"
    assert python(
        program
        + "\nfrom bnbench.plan import RunSpec; import bnbench.components.variants; print(callable(bnbench.plan))"
    ) == ("bn True\nTrue\n")


# --- what there is ------------------------------------------------------------------------------------------------


def test_problems_and_variants_are_those_of_the_command_line():
    assert bnbench.list_problems("digits_*") == ["digits_3c3d", "digits_allcnnc", "digits_mlp"]
    assert set(bnbench.list_problems()) > {"cifar10_3c3d", "digits_mlp"}
    assert tuple(bnbench.list_variants()[:5]) == STUDIED
    problem = bnbench.load_problem("cifar10_3c3d", set={"training.l2": 0, "width": 0.5})
    assert (problem.size, problem.training.l2, problem.width) == ("full", 0.0, 0.5)


def test_a_changed_row_needs_a_name_of_its_own():
    row = bnbench.variant("bn_gamma")
    mine = row.replace(name="mine", gamma={"initial": 0.1, "status": "fixed"})
    assert (mine.name, mine.symbol, mine.gamma.initial, mine.gamma.status) == ("mine", "mine", 0.1, Affine.FIXED)
    assert mine.beta == row.beta
    assert row.replace() == row
    for changes, told in (
        ({"gamma": {"initial": 0.1}}, "another name than 'bn_gamma'"),
        ({"gama": 1, "name": "mine"}, "Did you mean 'gamma'"),
        ({"gamma": {"start": 1}, "name": "mine"}, r"unknown field 'gamma\.start'"),
        ({"gamma": {"status": "learnt"}, "name": "mine"}, "Did you mean 'learned'"),
    ):
        with pytest.raises(UserError, match=told):
            row.replace(**changes)


# --- networks and batches -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("variant", "placement"), [("vanilla", None), ("bn_gamma_beta", "first:2")])
def test_a_network_is_the_one_that_a_run_begins_with(variant, placement):
    problem = tiny("digits_3c3d")
    seed = problem.seeds[1]
    torch.set_default_dtype(torch.float64)
    try:
        network = bnbench.build_network(problem, variant, placement, seed)
    finally:
        torch.set_default_dtype(torch.float32)
    assert isinstance(network, torch.nn.Module)
    assert network.training
    spec = spec_of(problem, variant, () if placement is None else (placement,), seed)
    begun = Trainer(spec, load_pipeline(spec, CPU), CPU).network
    own, theirs = network.state_dict(), begun.state_dict()
    assert list(own) == list(theirs)
    for name, values in theirs.items():
        assert torch.equal(own[name], values), name
    images, labels = next(iter(bnbench.batches(problem)))
    assert network(images).shape == (len(labels), 10)


def test_batches_are_those_that_a_run_trains_on(monkeypatch):
    problem = tiny("cifar10_3c3d")  # tiny: on digits, augmented as CIFAR-10 is
    spec = spec_of(problem)
    trained = []
    pipeline = load_pipeline(spec, CPU)
    real = pipeline.training_batch

    def noted(indices, parameters):
        trained.append(real(indices, parameters))
        return trained[-1]

    monkeypatch.setattr(pipeline, "training_batch", noted)
    with numerics("fp32", CPU, 1):
        for event in Trainer(spec, pipeline, CPU).events():
            if isinstance(event, EpochEvaluated) and event.epoch == 2:
                break
    own = [*bnbench.batches(problem, epoch=1), *bnbench.batches(problem, epoch=2)]
    assert len(own) == len(trained) > 10
    for (images, labels), (their_images, their_labels) in zip(own, trained, strict=True):
        assert torch.equal(images, their_images)
        assert torch.equal(labels, their_labels)
    assert images.dtype == torch.float32 and labels.dtype == torch.int64
    (first, _), *_ = bnbench.batches(problem, seed=problem.seeds[1])
    assert not torch.equal(first, trained[0][0])


@pytest.mark.parametrize("split", ["train_eval", "valid", "test"])
def test_what_is_evaluated_comes_whole_and_in_order(split):
    problem = tiny()
    theirs = list(load_pipeline(spec_of(problem), CPU).evaluation_batches(split, EVALUATION_BATCH))
    own = list(bnbench.batches(problem, split))
    assert len(own) == len(theirs)
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(own, theirs, strict=True))


# --- running ------------------------------------------------------------------------------------------------------


def test_a_run_has_the_bytes_of_the_command_line(folder, tmp_path):
    path, _ = folder
    done = invoke(
        "run", "digits_mlp", "--size", "tiny", "--epochs", 2, "--seeds", 3, "--device", "cpu", "--results", tmp_path,
        "--variant", "vanilla", "--variant", "bn_gamma_beta",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert table_bytes(path) == table_bytes(tmp_path)


def test_nothing_is_said_but_the_progress_that_is_asked_for(folder, capfd):
    path, _ = folder
    arguments = {"size": "tiny", "set": SHORT, "results": path, "workers": 0, "device": "cpu"}
    bnbench.run("digits_mlp", "bn", progress=False, **arguments)
    assert capfd.readouterr() == ("", "")
    bnbench.run("digits_mlp", "bn_beta", progress=True, **arguments)
    out, err = capfd.readouterr()
    assert out == ""
    assert "1 run to train, one after another in this process on cpu" in err
    assert "[1/1] digits_mlp (tiny) bn_beta hidden" in err


def test_the_results_are_those_of_the_runs_that_were_asked_for(folder):
    path, results = folder
    assert {record.identity.variant for record in results.records} == {"vanilla", "bn_gamma_beta"}
    assert len(results.records) == 6
    again = bnbench.run("digits_mlp", "vanilla", size="tiny", set=SHORT, results=path, progress=False, workers=0)
    assert [record.identity.variant for record in again.records] == ["vanilla"]
    assert len(bnbench.open_results(path).records) >= 6


def test_a_plan_is_a_frame(folder, tmp_path):
    path, _ = folder
    frame = bnbench.plan("digits_mlp", size="tiny", set=SHORT, results=path, device="cpu")
    by_variant = dict(zip(frame["variant"], frame["state"], strict=True))
    assert by_variant["vanilla"] == "finished"
    assert list(frame["variant"]) == list(STUDIED)
    assert set(frame.loc[~frame["to_train"], "variant"]) >= {"vanilla", "bn_gamma_beta"}
    assert not list(tmp_path.iterdir())


def test_rows_and_problems_of_ones_own(tmp_path):
    mine = bnbench.variant("bn_gamma").replace(name="half", gamma={"initial": 0.5})
    problem = tiny()
    results = bnbench.run(
        problem, ["bn_gamma", mine], seeds=[problem.seeds[3]], results=tmp_path, workers=1, device="cpu", progress=False
    )
    assert {(each.identity.variant, each.identity.seed) for each in results.records} == {
        ("bn_gamma", problem.seeds[3]), ("half", problem.seeds[3]),
    }  # fmt: skip
    assert [record.status for record in results.records] == ["finished"] * 2
    start = results.affine(variant="half", slot="dense1", parameter="gamma")["values"].iloc[0]
    assert set(start) == {0.5}
    assert set(results.rank().to_frame()["variant"]) == {"bn_gamma", "half"}


def test_what_is_asked_to_stop_raises_what_ctrl_c_raises(tmp_path):
    class Stopping(Silent):
        def started(self, spec):
            os.kill(os.getpid(), 2)

    with pytest.raises(KeyboardInterrupt, match="0 of 1 runs are finished"):
        bnbench.run(tiny(), "bn", results=tmp_path, workers=0, device="cpu", progress=Stopping())
    # This process is still there, and trains no more: nothing may say that it does.
    assert "Not ended: 1 resumable" in invoke("status", "--results", tmp_path).stdout


# --- what comes of it ---------------------------------------------------------------------------------------------


def test_a_ranking_is_a_frame_of_what_the_command_prints(folder):
    path, results = folder
    ranking = results.rank(problem="digits_mlp")
    frame = ranking.to_frame()
    assert list(frame["variant"]) == [row.variant for group in ranking.groups for row in group.rows]
    assert {"problem", "placement", "learning_rate", "final_train_accuracy", "seeds"} <= set(frame.columns)
    assert frame["final_train_accuracy"].between(0, 1).all()
    shown = bnbench.open_results(path).rank()._repr_html_()
    assert "<table" in shown


def test_activity_claims_and_figures(folder):
    _, results = folder
    activity = results.activity()
    assert set(activity["parameter"]) == {"gamma", "beta"}
    assert len(results.activity(each_run=True)) == 3 * len(activity)
    assert results.claims("thesis", only=["c1"]).study == "thesis"
    figure = results.plot("curves")
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert type(figure).__mro__[1].__name__ == "Figure", "it is matplotlib's"
    assert len(results.plots("gamma")) == 1


# --- a session's rows ---------------------------------------------------------------------------------------------


def test_rows_of_a_session(tmp_path):
    mine = bnbench.register_variant(bnbench.variant("bn").replace(name="mine", gamma={"initial": 0.5}))
    network = bnbench.register_architecture(replace(ARCHITECTURES.get("mlp"), name="my_mlp"))
    data = bnbench.register_dataset(replace(DATASETS.get("digits"), name="my_digits"))
    try:
        assert bnbench.list_variants()[-1] == "mine"
        assert bnbench.variant("mine") is mine
        problem = tiny().model_copy(update={"architecture": network.name})
        with pytest.raises(UserError, match="registered in this session"):
            bnbench.run(problem, "mine", results=tmp_path / "no", workers=2, device="cpu", progress=False)
        assert not (tmp_path / "no").exists()
        results = bnbench.run(problem, "mine", results=tmp_path / "yes", workers=0, device="cpu", progress=False)
        assert [record.architecture for record in results.records] == ["my_mlp"]
        assert ARCHITECTURES.is_third_party("my_mlp") and data.name in DATASETS
        with pytest.raises(UserError, match="'bn' is there already"):
            bnbench.register_variant(bnbench.variant("bn"))
        with pytest.raises(UserError, match="should be a plain name"):
            bnbench.register_variant(replace(mine, name="my row"))
        with pytest.raises(UserError, match="a str is no variant"):
            bnbench.register_variant("bn")
        other = bnbench.variant("mine").replace(name="other").replace(name="mine", gamma={"initial": 0.25})
        with pytest.raises(UserError, match="not as the table has it"):
            bnbench.run(problem, other, results=tmp_path / "no", workers=0, device="cpu", progress=False)
        assert bnbench.register_variant(other) is bnbench.variant("mine"), "a cell may be executed again"
    finally:
        for registry, name in ((VARIANTS, "mine"), (ARCHITECTURES, "my_mlp"), (DATASETS, "my_digits")):
            registry._session.pop(name, None)


@pytest.mark.parametrize(
    ("register", "registry"),
    [
        (bnbench.register_variant, VARIANTS),
        (bnbench.register_normaliser, NORMALISERS),
        (bnbench.register_reparametrisation, REPARAMETRISATIONS),
        (bnbench.register_architecture, ARCHITECTURES),
        (bnbench.register_dataset, DATASETS),
        (bnbench.register_optimiser, OPTIMISERS),
        (bnbench.register_rate_schedule, RATE_SCHEDULES),
        (bnbench.register_probe, PROBES),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_every_table_of_what_a_run_is_made_of_takes_a_row_of_a_session(register, registry):
    shipped = registry.get(registry.names()[-1])
    own_table = {"tables": (replace(shipped.tables[0], name="alone"),)} if registry is PROBES else {}
    mine = replace(shipped, name="mine_alone", **own_table)
    try:
        assert register(mine) is registry.get("mine_alone")
        assert registry.is_of_session("mine_alone") and not registry.is_of_session(shipped.name)
    finally:
        registry._session.pop("mine_alone", None)
        measurement.TABLES.pop("alone", None)
    with pytest.raises(UserError, match=f"'{shipped.name}' is there already"):
        register(shipped)


# --- mistakes -----------------------------------------------------------------------------------------------------


MISTAKES = [
    (("digits_mpl",), {}, ("digits_mpl",)),
    (("digits_mlp", "bm"), {}, ("digits_mlp", "--variant", "bm")),
    (("digits_mlp",), {"placements": "frist"}, ("digits_mlp", "--placement", "frist")),
    (("digits_mlp",), {"set": {"training.l3": 1}}, ("digits_mlp", "--set", "training.l3=1")),
    (("digits_mlp",), {"precision": "fp8"}, ("digits_mlp", "--precision", "fp8")),
    (("digits_mlp",), {"seeds": 99}, ("digits_mlp", "--seeds", "99")),
    (("digits_mlp",), {"lr_factors": -1.0}, ("digits_mlp", "--lr-factor", "-1")),
    (("digits_mlp",), {"device": "tpu"}, ("digits_mlp", "--device", "tpu")),
    (("digits_mlp",), {"gpus": [0], "device": "cpu"}, ("digits_mlp", "--gpus", "0", "--device", "cpu")),
]


@pytest.mark.parametrize(("words", "named", "typed"), MISTAKES, ids=lambda value: str(value) if value else None)
def test_a_mistake_is_the_command_lines_in_the_same_words(words, named, typed, tmp_path):
    with pytest.raises(UserError) as told:
        bnbench.run(*words, results=tmp_path / "no", **named)
    shown = invoke("run", *typed, "--results", tmp_path / "no")
    assert shown.exit_code == 2
    assert shown.stderr == f"Error: {told.value}\n"
    assert not list(tmp_path.iterdir())


def test_other_mistakes(folder, tmp_path):
    _, results = folder
    for mistake, told in (
        (lambda: bnbench.run([], results=tmp_path), "no problem given"),
        (lambda: bnbench.run("digits_mlp", [], results=tmp_path), "no variant given"),
        (lambda: bnbench.run("digits_mlp", seeds=[], results=tmp_path), "no seed given"),
        (lambda: bnbench.run("digits_mlp", seeds=[-1], results=tmp_path), "seed -1"),
        (lambda: bnbench.run(tiny(), set={"width": 1}, results=tmp_path), "is loaded already"),
        (lambda: bnbench.run(tiny(), size="full", results=tmp_path), "is loaded already"),
        (lambda: bnbench.batches("digits_mlp", "training"), "Known splits: train, train_eval"),
        (lambda: bnbench.batches("digits_mlp", epoch=0), "epoch = 0"),
        (lambda: bnbench.build_network("digits_mlp", "bn", seed=2**64), "seed 18446744073709551616"),
        (lambda: bnbench.open_results(tmp_path), "no results in"),
        (lambda: results.plot("curve"), "Did you mean 'curves'"),
        (lambda: results.plot("curves", width="wide"), "Known widths"),
        (lambda: results.rank(problme="x"), "Did you mean 'problem'"),
    ):
        with pytest.raises(UserError, match=told):
            mistake()
    assert not list(tmp_path.iterdir())


def test_several_figures_are_not_silently_one(folder, monkeypatch):
    _, results = folder
    monkeypatch.setattr(api.Results, "plots", lambda self, kind, **chosen: [None, None])
    with pytest.raises(UserError, match="2 figures of kind curves"):
        results.plot("curves")
