"""The loop: what it says, when, and that the numbers are those of a loop written out by hand."""

import dataclasses
import hashlib
import io
import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from bnbench.components.variants import Affine, AffineRule
from bnbench.data.augmentation import draw_parameters
from bnbench.data.dataset import DATASETS
from bnbench.data.pipeline import ImagePipeline
from bnbench.errors import UserError
from bnbench.measurement import TABLES
from bnbench.plan import expand_grid
from bnbench.problem import find_problem
from bnbench.training.events import (
    Diverged,
    EpochEvaluated,
    Finished,
    Measured,
    Paused,
    StepReached,
)
from bnbench.training.loop import Trainer
from bnbench.training.numerics import numerics
from bnbench.training.seeding import StepDraws, generator
from support.networks import (
    CPU,
    FIVE,
    Told,
    build,
    kinds,
    pipeline,
    run_spec,
    splits,
    train,
    trainer,
    variant_named,
)


def keyed(seed, stream, place):
    text = f"bnbench/{seed}/{stream}/{place}"
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))


def by_hand(spec, images=None):
    """A plain loop, its update written out: losses, hits, and γ, β and biases before each step and at the end."""
    data = pipeline(spec, images)
    settings = spec.training
    network = build(spec.layers(), spec.input_shape, spec.variant, spec.mask if "1" in spec.mask else "hidden")
    network.initialise(lambda slot: keyed(spec.seed, "weights", slot))
    network.to(memory_format=torch.channels_last)
    velocity = {}
    losses, hits, vectors = [], [], []

    def photograph():
        vectors.append({(v.slot, v.parameter): v.tensor.detach().numpy().copy() for v in network.affine_vectors()})

    with numerics("fp32", CPU, 1):
        step = 0
        for epoch in range(1, settings.epochs + 1):
            order = torch.randperm(data.train_size, generator=keyed(spec.seed, "order", epoch))
            parameters = draw_parameters(spec.augmentation, data.train_size, keyed(spec.seed, "augmentation", epoch))
            for indices in order.split(settings.batch_size):
                if len(indices) < settings.batch_size:
                    break
                photograph()
                images, labels = data.training_batch(indices, parameters)
                network.zero_grad()
                logits = network(images, StepDraws(spec.seed, step))
                loss = functional.cross_entropy(logits, labels)
                loss.backward()
                losses.append(loss.item())
                hits.append((logits.argmax(1) == labels).float().mean().item())
                with torch.no_grad():
                    for name, parameter in network.named_parameters():
                        if parameter.grad is None:
                            continue
                        decay = settings.l2 if name.endswith("linear.weight") else 0.0
                        change = parameter.grad.add(parameter, alpha=decay)
                        velocity[name] = change + settings.momentum * velocity.get(name, 0.0)
                        parameter.sub_(velocity[name], alpha=settings.learning_rate)
                step += 1
        photograph()
    return np.array(losses), np.array(hits), vectors


@pytest.fixture(scope="module")
def told():
    """A run of two epochs of eight steps."""
    return train(trainer(run_spec()))


# --- events ------------------------------------------------------------------------------------------------------


def test_the_order_of_events(told):
    # Ten vectors under BatchNorm and the output's bias; snapshots at 0, 5, 10, 15 and 16.
    assert "".join(kinds(told.events)) == "ce" + "rrrs" + 11 * "a" + "cte" + "rrs" + 11 * "a" + "cte" + "f"
    reached = [(event.step, event.epoch) for event in told.of(StepReached)]
    assert reached == [(1, 1), (6, 1), (8, 1), (11, 2), (16, 2)]
    assert told.last == Finished(16)


def test_n_epochs_give_n_plus_one_evaluations_of_every_split(told):
    epochs = told.of(EpochEvaluated)
    assert [(event.epoch, event.step, event.images) for event in epochs] == [(0, 0, 0), (1, 8, 64), (2, 16, 64)]
    for event in epochs:
        assert [(each.split, each.statistics) for each in event.evaluations] == [
            ("train_eval", "running"), ("valid", "running"), ("test", "running"),
        ]  # fmt: skip
        assert event.eval_s > 0
        assert (event.train_s > 0) is (event.epoch > 0)


def test_what_is_said_of_a_step_is_what_is_recorded(told):
    losses, accuracies = told.column("batch_loss"), told.column("batch_accuracy")
    for event in told.of(StepReached):
        assert event.batch_loss == losses[event.step - 1]
        assert event.batch_accuracy == accuracies[event.step - 1]


def test_events_are_numpy_and_plain_numbers(told):
    for event in told.events:
        for value in vars(event).values():
            assert isinstance(value, int | float | str | tuple | dict)
    for event in told.of(Measured):
        declared = {column.name: column.type for column in TABLES[event.table].columns}
        assert list(event.columns) == list(declared)
        for name, values in event.columns.items():
            if declared[name] == "string":
                assert all(type(value) is str for value in values)
            else:
                assert values.dtype == declared[name].removeprefix("list of ")


def test_what_is_measured_at_the_end_of_an_epoch_is_what_is_said_of_it(told):
    epochs = told.of(EpochEvaluated)
    assert told.table("curves") == [
        (event.epoch, event.step, each.split, each.statistics, each.loss, each.accuracy)
        for event in epochs
        for each in event.evaluations
    ]
    assert told.table("timing") == [
        (event.epoch, event.train_s, event.eval_s, event.images / event.train_s) for event in epochs[1:]
    ]


# --- numbers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("architecture", "variant", "placement", "momentum"),
    [
        ("3c3d", "bn_gamma_beta", "hidden", 0.0),
        ("3c3d", "vanilla", "hidden", 0.9),
        ("allcnnc", "bn_beta", "every", 0.9),
    ],
)
def test_steps_and_snapshots_against_a_loop_by_hand(architecture, variant, placement, momentum):
    # Batches large enough that a rounding is not blown up by a channel that hardly varies.
    spec = run_spec(variant, placement, architecture=architecture, momentum=momentum, batch_size=32)
    images = splits((260, 41, 13, 11))
    told = train(trainer(spec, images))
    losses, hits, vectors = by_hand(spec, images)
    assert told.column("step").tolist() == list(range(16))
    assert told.column("epoch").tolist() == [1] * 8 + [2] * 8
    assert told.column("learning_rate").tolist() == [0.05] * 16
    # Step s is the loss before update s + 1.
    np.testing.assert_allclose(told.column("batch_loss"), losses, rtol=1e-5)
    np.testing.assert_array_equal(told.column("batch_accuracy"), hits.astype(np.float32))
    snapshots = told.snapshots()
    assert set(snapshots) == set(vectors[0])
    for key, (steps, values) in snapshots.items():
        assert steps.tolist() == [0, 5, 10, 15, 16]
        assert values.shape == (5, len(vectors[0][key]))
        for step, row in zip(steps, values, strict=True):
            np.testing.assert_allclose(row, vectors[step][key], rtol=1e-4, atol=1e-6)


def test_the_last_snapshot_is_the_network_that_is_left():
    run = trainer(run_spec())
    snapshots = train(run).snapshots()
    for vector in run.network.affine_vectors():
        assert snapshots[vector.slot, vector.parameter][1][-1].tobytes() == vector.tensor.detach().numpy().tobytes()


def test_the_first_snapshot_is_the_network_before_the_first_step():
    for (_, parameter), (_, values) in train(trainer(run_spec())).snapshots().items():
        assert set(values[0].tolist()) == {{"gamma": 1.0, "beta": 0.0, "bias": 0.0}[parameter]}


@pytest.mark.parametrize(
    ("schedule", "steps"),
    [
        ("every:1", list(range(17))),
        ("every:8", [0, 8, 16]),
        ("every:7", [0, 7, 14, 16]),
        ("every:100", [0, 16]),
        ("log:4", [0, 2, 4, 8, 16]),
    ],
)
def test_snapshot_schedules(schedule, steps):
    snapshots = train(trainer(run_spec(schedule=schedule))).snapshots()
    assert {tuple(each.tolist()) for each, _ in snapshots.values()} == {tuple(steps)}


def test_schedules_do_not_change_what_is_trained(told):
    for schedule in ("every:1", "log:3"):
        other = train(trainer(run_spec(schedule=schedule)))
        assert other.column("batch_loss").tobytes() == told.column("batch_loss").tobytes()
        assert other.evaluations() == told.evaluations()


@pytest.mark.parametrize("variant", FIVE, ids=lambda row: row.name)
def test_frozen_vectors_keep_their_bits_and_learned_ones_move(variant):
    snapshots = train(trainer(run_spec(variant, "every", schedule="every:1", momentum=0.9))).snapshots()
    if variant.name == "vanilla":
        assert {parameter for _, parameter in snapshots} == {"bias"}
    else:
        assert {parameter for _, parameter in snapshots} == {"gamma", "beta"}
    for (_, parameter), (_, values) in snapshots.items():
        frozen = parameter != "bias" and parameter not in variant.name
        initial = np.full_like(values, {"gamma": 1.0}.get(parameter, 0.0))
        if frozen:
            assert values.tobytes() == initial.tobytes()
        else:
            assert (values[-1] != initial[-1]).any()


def test_both_kinds_of_statistics_on_request():
    spec = run_spec(population_statistics=True)
    run = trainer(spec)
    both = train(run)
    for event in both.of(EpochEvaluated):
        assert [(each.split, each.statistics) for each in event.evaluations] == [
            ("train_eval", "running"), ("valid", "running"), ("test", "running"),
            ("train_eval", "population"), ("valid", "population"), ("test", "population"),
        ]  # fmt: skip
    running = [row for row in both.evaluations() if row[3] == "running"]
    plain = train(trainer(run_spec()))
    assert running == plain.evaluations()
    assert both.column("batch_loss").tobytes() == plain.column("batch_loss").tobytes()

    # The last of them again, with the statistics of 41 // 8 whole batches put in by hand.
    data = pipeline(spec)
    network = run.network.train()
    totals = {name: [] for name, slot in network.slots.items() if slot.normaliser is not None}
    hooks = [
        network.slots[name].normaliser.register_forward_pre_hook(lambda _, x, n=name: totals[n].append(x[0].detach()))
        for name in totals
    ]
    whole = [images for images, labels in data.evaluation_batches("train_eval", 8) if len(labels) == 8]
    assert len(whole) == 5
    for images in whole:
        network(images)
    for hook in hooks:
        hook.remove()
    for name, inputs in totals.items():
        axes = (0, 2, 3) if inputs[0].dim() == 4 else (0,)
        normaliser = network.slots[name].normaliser
        normaliser.running_mean.copy_(torch.stack([x.mean(axes) for x in inputs]).mean(0))
        normaliser.running_var.copy_(torch.stack([x.var(axes, unbiased=True) for x in inputs]).mean(0))
    network.eval()
    for each in both.of(EpochEvaluated)[-1].evaluations[3:]:
        ((images, labels),) = data.evaluation_batches(each.split, 500)
        with torch.no_grad():
            assert each.loss == pytest.approx(functional.cross_entropy(network(images), labels).item(), rel=1e-4)


# --- reproducibility ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("architecture", ["3c3d", "allcnnc", "mlp"])
def test_two_runs_are_equal_bit_for_bit(architecture, precision):
    spec = run_spec(architecture=architecture, precision=precision)
    assert train(trainer(spec)).rows() == train(trainer(spec)).rows()


def test_a_run_does_not_depend_on_global_generators():
    spec = run_spec(architecture="allcnnc")
    torch.manual_seed(1)
    first = train(trainer(spec)).rows()
    torch.manual_seed(2)
    np.random.seed(2)
    torch.rand(17)
    assert train(trainer(spec)).rows() == first


def test_expressions_of_one_mask_are_one_run():
    specs = [run_spec("bn_gamma", expression) for expression in ("first", "first:1", "conv1", "100000")]
    assert len({spec.run_id for spec in specs}) == 1
    assert len({train(trainer(spec)).rows() for spec in specs}) == 1


def test_vanilla_is_one_run_whatever_the_placement():
    specs = [run_spec("vanilla", expression) for expression in ("hidden", "every", "output")]
    assert len({spec.run_id for spec in specs}) == 1
    assert len({train(trainer(spec)).rows() for spec in specs}) == 1


def test_bf16_trains_close_to_fp32_and_not_the_same(told):
    rough = train(trainer(run_spec(precision="bf16")))
    losses = rough.column("batch_loss")
    assert np.isfinite(losses).all()
    assert (losses != told.column("batch_loss")).any()
    assert losses[0] == pytest.approx(told.column("batch_loss")[0], rel=0.02)
    assert losses.mean() == pytest.approx(told.column("batch_loss").mean(), rel=0.2)
    run = trainer(run_spec(precision="bf16"))
    assert {parameter.dtype for parameter in run.network.parameters()} == {torch.float32}


# --- pausing and going on ----------------------------------------------------------------------------------------


class Impatience:
    """Says yes at the nth time of asking."""

    def __init__(self, patience):
        self.patience = patience

    def __call__(self):
        self.patience -= 1
        return self.patience < 0


def saved(run):
    """The whole state of a trainer as bytes."""
    state = {"network": run.network.state_dict(), "optimiser": run.optimiser.state_dict(), "step": run.step}
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def restored(spec, state):
    """A fresh trainer that goes on from a state."""
    run = trainer(spec)
    loaded = torch.load(io.BytesIO(state))
    run.network.load_state_dict(loaded["network"])
    run.optimiser.load_state_dict(loaded["optimiser"])
    run.step = loaded["step"]
    return run


@pytest.mark.parametrize("patience", [0, 1, 2])
@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("3c3d", {}),
        ("allcnnc", {"momentum": 0.9, "schedule": "log:9"}),
        ("3c3d", {"momentum": 0.9, "population_statistics": True, "schedule": "every:1", "epochs": 3}),
    ],
)
def test_an_interrupted_run_has_the_rows_of_an_uninterrupted_one(architecture, options, patience):
    spec = run_spec(architecture=architecture, **options)
    whole = train(trainer(spec))
    run, pieces, pauses = trainer(spec), [], 0
    while True:
        piece = train(run, Impatience(patience))
        pieces += piece.events
        if isinstance(piece.last, Finished):
            break
        assert piece.last == Paused(run.step)
        pauses += 1
        run = restored(spec, saved(run))
    assert pauses > 0
    assert Told(pieces).rows() == whole.rows()
    assert sum(event.epoch == 0 for event in Told(pieces).of(EpochEvaluated)) == 1
    assert [event.epoch for event in Told(pieces).of(EpochEvaluated)] == list(range(spec.training.epochs + 1))


@pytest.mark.parametrize("epoch", [0, 1])
def test_a_run_goes_on_from_the_end_of_an_epoch(told, epoch):
    spec = run_spec()
    run, said = trainer(spec), []
    with numerics("fp32", CPU, 1):
        for event in run.events():
            said.append(event)
            if isinstance(event, EpochEvaluated) and event.epoch == epoch:
                break
    assert run.step == 8 * epoch
    rest = train(restored(spec, saved(run)))
    if epoch == 0:  # nothing was trained, so the evaluation before the first step is said again
        said = []
    assert Told([*said, *rest.events]).rows() == told.rows()


def test_a_run_is_asked_after_every_step_but_the_last_of_an_epoch():
    asked = []
    run = trainer(run_spec(schedule="every:5"))

    def pause():
        asked.append(run.step)
        return False

    told = train(run, pause)
    assert asked == [1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15]
    assert told.last == Finished(16)


# --- divergence --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [
        ("3c3d", {"learning_rate": 1e12}),
        ("3c3d", {"learning_rate": 1e3}),
        ("mlp", {"learning_rate": 30.0, "momentum": 0.9}),
        # Each step multiplies every weight by -3 and hardly learns, until the logits overflow in the second epoch.
        ("mlp", {"learning_rate": 1e-9, "l2": 4e9}),
    ],
)
def test_a_run_that_diverges_for_real_stops_and_keeps_its_rows(architecture, settings):
    spec = run_spec("vanilla", architecture=architecture, epochs=3, **settings)
    losses, *_ = by_hand(spec)
    first = int(np.flatnonzero(~np.isfinite(losses))[0])
    assert 0 < first < 16
    told = train(trainer(spec))
    assert told.last == Diverged(first)
    recorded = told.column("batch_loss")
    assert np.isfinite(recorded[:first]).all()
    assert not np.isfinite(recorded[first])
    np.testing.assert_allclose(recorded[: min(first, 2)], losses[: min(first, 2)], rtol=1e-4)
    # Looked for at snapshot steps and at the end of an epoch: after step 0, 5, 7 (the last of epoch 1), 10 …
    looked = [0, 5, 7, 10, 15, 20, 23]
    assert told.column("step").tolist() == list(range(next(step for step in looked if step >= first) + 1))
    assert not any(isinstance(event, Finished | Paused) for event in told.events)
    evaluated = [event.epoch for event in told.of(EpochEvaluated)]
    assert evaluated == list(range(len(evaluated)))
    assert len(evaluated) == 1 + first // 8
    for steps, values in told.snapshots().values():
        assert steps.tolist() == [step for step in (0, 5, 10, 15, 20) if step <= told.column("step")[-1]]
        assert len(values) == len(steps)


@pytest.mark.parametrize("bad", range(16))
def test_the_first_step_that_is_not_finite_is_found_wherever_it_is(bad):
    run = trainer(run_spec("vanilla"))

    def spoil(_, arguments):
        if len(arguments) == 2 and run.step == bad:
            return arguments[0] * math.inf, arguments[1]
        return None

    run.network.register_forward_pre_hook(spoil)
    told = train(run)
    assert told.last == Diverged(bad)
    assert np.isfinite(told.column("batch_loss")[:bad]).all()
    assert len(told.of(EpochEvaluated)) == 1 + bad // 8
    reached = told.of(StepReached)[-1]
    assert not math.isfinite(reached.batch_loss)


@pytest.mark.parametrize("bad", [2, 5, 9])
def test_pausing_does_not_hide_a_divergence_or_change_the_rows_it_ends_with(bad):
    def spoiled(run):
        run.network.register_forward_hook(
            # The loss of one step alone; what is learned stays finite, so a later look at later steps finds nothing.
            lambda _, arguments, logits: (
                torch.where(torch.arange(4) == 0, -math.inf, logits)
                if len(arguments) == 2 and run.step == bad
                else logits
            )
        )
        return run

    spec = run_spec("vanilla")
    whole = train(spoiled(trainer(spec)))
    assert whole.last == Diverged(bad)
    run, pieces = spoiled(trainer(spec)), []
    while True:
        piece = train(run, lambda: True)
        pieces += piece.events
        if not isinstance(piece.last, Paused):
            break
        run = spoiled(restored(spec, saved(run)))
    assert piece.last == Diverged(bad)
    assert len([each for each in pieces if isinstance(each, Paused)]) >= bad // 2
    assert Told(pieces).rows() == whole.rows()


def test_one_infinite_loss_among_finite_ones_is_a_divergence():
    run = trainer(run_spec("vanilla"))

    def spoil(_, arguments, logits):
        if len(arguments) == 2 and run.step == 2:
            # Class 0 has probability 0, also for the images of it in this batch; no weight becomes infinite of it.
            return torch.where(torch.arange(4) == 0, -math.inf, logits)
        return None

    run.network.register_forward_hook(spoil)
    told = train(run)
    losses = told.column("batch_loss")
    assert np.flatnonzero(~np.isfinite(losses)).tolist() == [2]
    assert losses[2] == math.inf
    assert told.last == Diverged(2)


def test_an_evaluation_that_is_not_finite_beside_a_finite_training_loss_is_no_divergence():
    run = trainer(run_spec())
    run.network.slots["conv1"].normaliser.running_mean.fill_(math.nan)  # batch statistics do not read it
    told = train(run)
    assert told.last == Finished(16)
    assert np.isfinite(told.column("batch_loss")).all()
    assert len(told.evaluations()) == 9
    assert all(math.isnan(loss) for *_, loss, _ in told.evaluations())


# --- refusals ----------------------------------------------------------------------------------------------------


def test_a_batch_larger_than_the_training_split_is_refused():
    with pytest.raises(UserError, match="the training split has 67 images, a batch 68") as refused:
        trainer(run_spec(batch_size=68))
    assert "--set training.batch_size=N" in refused.value.hint
    assert trainer(run_spec(batch_size=67)).steps_per_epoch == 1


def test_population_statistics_without_a_whole_batch_are_refused():
    few = splits((67, 7, 13, 11))
    with pytest.raises(UserError, match="train_eval has 7 images, a batch 8"):
        trainer(run_spec(population_statistics=True), few)
    assert isinstance(trainer(run_spec(), few), Trainer)


# --- rows of the variant table that do not ship ------------------------------------------------------------------


def test_a_row_that_learns_late_slowly_and_trains_no_weights():
    row = dataclasses.replace(
        variant_named("bn_gamma_beta"),
        name="late",
        gamma=AffineRule(Affine.LEARNED, 0.5, learning_rate_factor=0.1, learned_in="last:2"),
        beta=AffineRule(Affine.FIXED, 0.25),
        train_weights=False,
    )
    spec = run_spec(row, "hidden", schedule="every:1", l2=0.1)
    run = trainer(spec)
    before = {name: parameter.detach().clone() for name, parameter in run.network.named_parameters()}
    snapshots = train(run).snapshots()
    moved = {name for name, p in run.network.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"slots.dense1.normaliser.weight", "slots.dense2.normaliser.weight"}
    assert all(set(values[0].tolist()) == {0.5} for (_, p), (_, values) in snapshots.items() if p == "gamma")
    assert all(set(values.ravel().tolist()) == {0.25} for (_, p), (_, values) in snapshots.items() if p == "beta")

    # The first update by hand: a tenth of the run's rate, no decay.
    network = build(spec.layers(), spec.input_shape, row, "hidden")
    network.initialise(lambda slot: generator(7, "weights", slot))
    data = pipeline(spec)
    order = torch.randperm(67, generator=keyed(7, "order", 1))
    images, labels = data.training_batch(order[:8], draw_parameters(spec.augmentation, 67, keyed(7, "augmentation", 1)))
    functional.cross_entropy(network(images), labels).backward()
    gradient = network.slots["dense2"].normaliser.weight.grad.numpy()
    np.testing.assert_allclose(snapshots["dense2", "gamma"][1][1], 0.5 - 0.05 * 0.1 * gradient, rtol=1e-5)


def test_a_row_without_normalisation_trains_its_scale_and_shift():
    row = dataclasses.replace(
        variant_named("vanilla"),
        name="affine",
        gamma=AffineRule(Affine.LEARNED, 1.0),
        beta=AffineRule(Affine.LEARNED, 0.0),
    )
    told, vanilla = (train(trainer(run_spec(each))) for each in (row, "vanilla"))
    snapshots = told.snapshots()
    assert {parameter for _, parameter in snapshots} == {"gamma", "beta", "bias"}
    assert (snapshots["conv2", "gamma"][1][-1] != 1).any()
    # γ = 1 and β = 0 change nothing before the first update, and something after it.
    assert told.column("batch_loss")[0] == vanilla.column("batch_loss")[0]
    assert (told.column("batch_loss")[1:] != vanilla.column("batch_loss")[1:]).all()


# --- learning ----------------------------------------------------------------------------------------------------


def test_batchnorm_learns_the_digits_faster_than_vanilla():
    """One epoch of `digits_3c3d` at size tiny; at this rate it is a factor of three to five for every seed tried."""
    problem = find_problem("digits_3c3d").problem("tiny", {"training.epochs": 1})
    digits = DATASETS.get("digits")
    losses = {}
    for spec in expand_grid(problem, digits.identify(), [variant_named("vanilla"), variant_named("bn_gamma_beta")]):
        data = ImagePipeline(
            digits.load_splits(spec.split_seed),
            dataset=digits,
            image_size=spec.input_shape[1],
            augmentation=spec.augmentation,
            device=CPU,
        )
        (_, after) = train(Trainer(spec, data, CPU)).of(EpochEvaluated)
        losses[spec.variant.name] = after.evaluations[0].loss
    assert losses["bn_gamma_beta"] < 0.6 * losses["vanilla"] < 0.6 * math.log(10)
