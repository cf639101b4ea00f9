"""Probes change nothing of what a run learns, measure the same after an interruption, and never end a run."""

import copy
import sys
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
import torch

from bnbench import measurement
from bnbench.components.probes import PROBES, ProbeRow
from bnbench.errors import UserError
from bnbench.measurement import COUNT, Column, Table
from bnbench.options import Option
from bnbench.problem import Probes
from bnbench.training.checkpoint import checkpoint_bytes, restore_checkpoint
from bnbench.training.events import Diverged, Finished, Measured, Paused
from bnbench.training.probing.moment import NotMeasuredError
from support.networks import Told, digest, run_spec, train, trainer, variant_named
from support.probing import EVERYTHING, probed, probed_spec

RENEWED = variant_named("bn_population").replace(name="renewed", options={"batches": 2, "refresh": 4})
"""Whose last probe comes where the constants would be renewed."""
TABLES_OF_PROBES = sorted({table.name for name in PROBES for table in PROBES.get(name).tables})


def probe_tables(told):
    """The rows of every probe's table, floats to the last bit."""
    return {name: repr(told.table(name)) for name in (*TABLES_OF_PROBES, "probe_notes")}


def state(network):
    return {name: digest(value) for name, value in network.state_dict().items()}


@pytest.mark.parametrize(
    ("variant", "precision", "fields"),
    [
        ("bn_gamma_beta", "fp32", {"momentum": 0.9, "batch_size": 16}),
        ("bn_gamma_beta", "bf16", {"population_statistics": True}),
        ("vanilla", "fp32", {"batch_size": 16}),
        (RENEWED, "fp32", {"momentum": 0.9, "batch_size": 8}),
        (RENEWED, "bf16", {"batch_size": 8}),
    ],
)
def test_with_all_probes_and_without_a_run_is_the_same_to_the_last_bit(variant, precision, fields):
    spec = run_spec(variant, precision=precision, epochs=1, **fields)
    plain, watched = trainer(spec), trainer(probed(spec, EVERYTHING))
    before = torch.random.get_rng_state()
    without, told = train(plain), train(watched)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert told.rows() == without.rows()
    assert state(watched.network) == state(plain.network)
    assert all(told.table(name) for name in TABLES_OF_PROBES)
    assert told.rows_of("probe_notes") == []
    assert watched.spec.setting_id == plain.spec.setting_id
    assert watched.spec.run_id != plain.spec.run_id


@pytest.mark.parametrize(("variant", "learning_rate"), [("bn_gamma_beta", 0.05), (RENEWED, 0.005)])
def test_killed_and_resumed_at_a_probe_step_the_tables_are_the_same(variant, learning_rate):
    several = {**EVERYTHING, "covariate_shift": {"schedule": "even:4", "batches": 1}}
    spec = probed_spec(several, variant, momentum=0.9, batch_size=16, learning_rate=learning_rate)
    whole = train(trainer(spec))
    events: list[object] = []
    run, stretches = trainer(spec), 0
    while True:
        stop_at = run.step + 2  # every second step is a step of landscape and covariate_shift

        def pause(run=run, stop_at=stop_at):
            return run.step >= stop_at

        told = train(run, pause)
        events += told.events
        if not isinstance(told.last, Paused):
            break
        stretches += 1
        payload, run = checkpoint_bytes(run), trainer(spec)
        restore_checkpoint(run, payload)
    assert stretches == 3
    assert isinstance(events[-1], Finished)
    assert probe_tables(Told(events)) == probe_tables(whole)


def test_probes_in_bf16_compute_in_fp32():
    spec = probed_spec({"landscape": {"schedule": "even:1"}}, precision="bf16", epochs=1)
    alike = probed_spec({"landscape": {"schedule": "even:1"}}, epochs=1)
    first = [row for row in train(trainer(spec)).table("landscape") if row[0] == 0]
    assert first == [row for row in train(trainer(alike)).table("landscape") if row[0] == 0]


def test_at_a_step_that_has_diverged_there_is_a_note_and_the_run_goes_its_way():
    fields = {"variant": "vanilla", "learning_rate": 1e12, "schedule": "every:8"}
    spec = run_spec(**fields)
    quick = {**EVERYTHING, "landscape": {"schedule": "every:1"}, "covariate_shift": {"schedule": "every:1"}}
    told, without = train(trainer(probed(spec, quick))), train(trainer(spec))
    assert told.last == without.last
    assert isinstance(told.last, Diverged)
    assert told.rows() == without.rows()
    notes = told.table("probe_notes")
    assert {(probe, reason) for _, probe, reason in notes} >= {
        ("landscape", "loss or gradient are not finite at this step"),
        ("covariate_shift", "loss or gradient are not finite before the update"),
    }
    assert {step for step, probe, _ in notes if probe == "landscape"}.isdisjoint(
        {row[0] for row in told.table("landscape")}
    )


OWN_TABLE = Table(
    "lengths",
    "lengths of the weights",
    (Column("step", "int64", "updates done", range=COUNT), Column("length", "float64", "of all parameters")),
    key=("step",),
)
OWN = ProbeRow(
    "lengths",
    "Lengths",
    "how long the weights are",
    (OWN_TABLE,),
    "step",
    "probe_of_a_test:build",
    schedule="every:4",
    options=(
        Option("power", 2.0, "of the norm", minimum=1, maximum=8),
        Option("how", "all", "which", choices=("all", "some")),
    ),
)


@pytest.fixture
def own_probe(monkeypatch):
    """A probe that this session knows, in a module of its own; `measure` may be exchanged."""
    module = ModuleType("probe_of_a_test")

    def measure(options, moment):
        length = sum(float(each.detach().norm()) for each in moment.network.parameters()) * options["power"]
        yield Measured("lengths", {"step": np.array([moment.step]), "length": np.array([length])})

    module.measure = measure
    module.build = lambda options: lambda moment: module.measure(options, moment)
    monkeypatch.setitem(sys.modules, "probe_of_a_test", module)
    monkeypatch.setattr(PROBES, "_session", {})
    monkeypatch.setattr(measurement, "_declared_by", {})
    PROBES.register_for_session(OWN)
    yield module
    measurement.TABLES.pop("lengths", None)


def test_a_probe_of_ones_own_works_by_its_name(own_probe):
    spec = probed_spec({"lengths": {"power": 4}})
    assert spec.resolved()["probes"] == {"lengths": {"power": 4.0}}
    told = train(trainer(spec))
    assert [row[0] for row in told.table("lengths")] == [0, 4, 8, 12, 16]
    parameters = trainer(spec).network.parameters()
    assert told.table("lengths")[0][1] == sum(float(each.detach().norm()) for each in parameters) * 4


def test_whatever_a_probe_does_to_its_network_or_raises_training_goes_on(own_probe):
    without = train(trainer(run_spec()))

    def spoil(options, moment):
        moment.network.eval()
        with torch.no_grad():
            for each in (*moment.network.parameters(), *moment.network.buffers()):
                each.fill_(0)
        torch.set_grad_enabled(True)
        if moment.step == 8:
            raise NotMeasuredError("not at eight")
        raise ValueError("a mistake\nover two lines")

    own_probe.measure = spoil
    told = train(trainer(probed_spec({"lengths": True})))
    assert told.rows() == without.rows()
    reasons = {step: reason for step, _, reason in told.table("probe_notes")}
    assert reasons[8] == "not at eight"
    assert reasons[4] == "ValueError: a mistake over two lines"
    assert sorted(reasons) == [0, 4, 8, 12, 16]


def test_each_probe_has_a_copy_of_its_own(own_probe):
    seen = []

    def look(options, moment):
        seen.append(moment)
        return []

    own_probe.measure = look
    run = trainer(probed_spec({"lengths": True}))
    train(run)
    networks = [moment.network for moment in seen]
    assert len({id(each) for each in (run.network, *networks)}) == len(networks) + 1
    assert all(network.training for network in networks)
    assert all(each.grad is None for network in networks for each in network.parameters())
    assert [(moment.step, moment.epoch, moment.learning_rate) for moment in seen] == [
        (0, 0, 0.05), (4, 0, 0.05), (8, 1, 0.05), (12, 1, 0.05), (16, 2, 0.05),
    ]  # fmt: skip
    assert {moment.batch.images.shape for moment in seen} == {(8, 1, 32, 32)}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"landscap": True},
            r"unknown probe 'landscap'\. Did you mean 'landscape'\? Known probes: sparsity, landscape",
        ),
        ({"landscap": False}, "unknown probe 'landscap'"),
        (
            {"landscape": {"shedule": "even:3"}},
            r"probe 'landscape': unknown option 'shedule'\. Did you mean 'schedule'\?",
        ),
        (
            {"landscape": {"schedule": "odd:3"}},
            r"probe 'landscape': schedule 'odd:3' is not known\. A schedule is every:N",
        ),
        (
            {"landscape": {"schedule": 3}},
            r"option schedule = 3: should be a text\. schedule: when it measures, as every:N",
        ),
        ({"landscape": 3}, "landscape = 3: should be true, false or a table of its options"),
        ({"spectrum": {"order": 1}}, "probe 'spectrum': option order = 1: should be a whole number from 2 to 1000"),
        ({"spectrum": {"order": 9.0}}, "option order = 9.0: should be a whole number"),
        ({"spectrum": {"order": True}}, "option order = True: should be a whole number"),
        ({"spectrum": {"statistics": "both"}}, "option statistics = 'both': should be 'batch' or 'running'"),
        ({"activations": {"schedule": "even:3"}}, "probe 'activations': unknown option 'schedule'"),
    ],
)
def test_an_unknown_probe_or_option_is_said_in_one_message(given, message):
    with pytest.raises(ValueError, match=message):
        Probes.model_validate(given)


def test_two_ways_of_saying_the_same_are_one_run():
    spec = run_spec()
    defaults = probed(spec, {"landscape": True})
    assert defaults.resolved()["probes"] == {"landscape": {}}
    for same in ({"landscape": {}}, {"landscape": {"schedule": "even:30"}}, {"landscape": True, "spectrum": False}):
        assert probed(spec, same).run_id == defaults.run_id
    assert probed(spec, {"landscape": {"schedule": "even:31"}}).run_id != defaults.run_id
    off = Probes.model_validate({"sparsity": True, "landscape": False})
    assert (off, off.hashed()) == (Probes(sparsity=True), {"sparsity": True})
    assert Probes.model_validate(off.model_dump()) == off
    assert copy.deepcopy(defaults.probes) == defaults.probes


def test_a_later_revision_of_a_probe_is_in_the_id(own_probe):
    first = probed_spec({"lengths": True})
    ids = [first.run_id]
    PROBES.register_for_session(replace(OWN, revision=2))
    assert first.resolved()["probes"] == {"lengths": {"revision": 2}}
    assert first.run_id not in ids


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule": None}, "a default is needed"),
        ({"moment": "evaluation"}, "there is none at evaluations"),
        ({"moment": "night"}, "moment = 'night'"),
        ({"build": "nothing"}, "build = 'nothing'"),
        ({"tables": ()}, "tables = "),
        ({"tables": (Table("curves", "mine", OWN_TABLE.columns, key=("step",)),)}, "plain name of its own"),
        ({"tables": (Table("mine", "mine", OWN_TABLE.columns),)}, "needs a key"),
        ({"tables": (Table("mine", "mine", OWN_TABLE.columns[1:], key=("length",)),)}, "needs a column step or epoch"),
        ({"options": (Option("schedule", 1, "x"),)}, "options = 'schedule': is taken"),
    ],
)
def test_a_row_that_cannot_be_recorded_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        replace(OWN, **changes)


def test_a_table_of_another_probe_cannot_be_filled(own_probe):
    with pytest.raises(UserError, match="fills a table 'landscape', and there is another of that name"):
        PROBES.register_for_session(
            replace(OWN, name="other", tables=(Table("landscape", "mine", OWN_TABLE.columns, key=("step",)),))
        )
    assert "other" not in PROBES
