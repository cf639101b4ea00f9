"""`bnbench show`: one problem, slot by slot, with its settings, targets and cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

import click

from bnbench.cli.options import size_option
from bnbench.cli.output import print_tables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bnbench.analysis.table import Table, Value
    from bnbench.architecture import Layer, TracedLayer
    from bnbench.problem import Problem, Size, Target, Training
    from bnbench.variant import Variant

BACKWARD = 2
"""A backward pass costs about twice a forward pass: gradients of the inputs and of the weights."""
SMALL_NETWORK = 1e7
"""FLOP an image; below it the table counts in kFLOP."""


@click.command("show")
@click.argument("name", metavar="PROBLEM")
@click.option("--placement", help="Show the network under this placement; default: the problem's.")
@click.option("--variant", default="bn_gamma_beta", show_default=True, help="Show the network of this variant.")
@size_option
def command(name: str, placement: str | None, variant: str, size: Size) -> None:
    """Describe a problem: data, network, settings, targets, cost.

    \b
    Examples:
      bnbench show cifar10_3c3d
      bnbench show cifar100_allcnnc --placement every --variant bn_beta
    """
    from bnbench.architecture import ARCHITECTURES, slot_names, trace
    from bnbench.data.dataset import DATASETS
    from bnbench.placement import NOWHERE, canonical_placement, parse_placement
    from bnbench.problem import find_problem
    from bnbench.variant import VARIANTS

    problem = find_problem(name).problem(size)
    dataset = DATASETS.get(problem.dataset)
    architecture = ARCHITECTURES.get(problem.architecture)
    row = VARIANTS.get(variant)
    layers = architecture.layer_table(dataset.classes, problem.width)
    names = slot_names(layers)
    mask = parse_placement(placement or problem.placements[0], names)
    if not row.alters_slots:
        mask = "0" * len(mask)
    image = architecture.image_size
    traced = trace(layers, (dataset.channels, image, image))

    click.echo(f"{_bold(problem.name)}  {problem.summary}")
    print_tables([_settings(problem, dataset.title, architecture.title)])
    shown = canonical_placement(mask, names)
    where = "no BatchNorm" if shown == NOWHERE else f"placement {shown} (mask {mask})"
    click.echo(f"\n{_bold(architecture.title)} as {row.symbol}: {where}")
    print_tables([_network(traced, dict(zip(names, mask, strict=True)), row)])
    click.echo(_cost(problem, traced))
    click.echo(f"\n{_bold('Targets')}")
    for target in problem.targets:
        click.echo(f"  {target.split} {target.metric} {target.sign} {target.level:g}")
        click.echo(click.style(f"    {_source(target)}", dim=True))
    if not problem.targets:
        click.echo("  no target: none has a source yet")


def _bold(text: str) -> str:
    return click.style(text, bold=True)


def _settings(problem: Problem, data: str, network: str) -> Table:
    from bnbench.analysis.table import Column, Kind, Table
    from bnbench.identity import hashed

    changes = {key: value for key, value in problem.augmentation.model_dump().items() if value}
    facts = {
        "reproduces": problem.source,
        "data": f"{data}, split seed {problem.split_seed}",
        "network": network if problem.width == 1 else f"{network}, width ×{problem.width:g}",
        "placements": ", ".join(problem.placements),
        **_training(problem.training),
        "augmentation": ", ".join(f"{key.replace('_', ' ')} {value:.4g}" for key, value in changes.items()) or "none",
        "snapshots": problem.snapshots.schedule,
        "probes": ", ".join(hashed(problem.probes)) or "none",
        "seeds": ", ".join(map(str, problem.seeds)),
    }
    columns = (Column("setting", ""), Column("value", "", Kind.PROSE))
    return Table("settings", columns, tuple((f"  {name}", value) for name, value in facts.items()), headless=True)


def _training(training: Training) -> dict[str, str]:
    """The settings of the optimiser and of the rate; a constant rate needs no line of its own."""
    from bnbench.optimiser import OPTIMISERS
    from bnbench.rate_schedule import RATE_SCHEDULES, is_constant

    optimiser, schedule = OPTIMISERS.get(training.optimiser), RATE_SCHEDULES.get(training.schedule)
    moves = _told(training, optimiser.settings) | dict(training.optimiser_options)
    words = [optimiser.title, f"learning rate {training.learning_rate!r}", *_listed(moves)]
    facts = {"training": ", ".join([*words, f"batch {training.batch_size}", f"{training.epochs} epochs"])}
    if not is_constant(training):
        rate = ", ".join(
            [schedule.title, *_listed(_told(training, schedule.settings) | dict(training.schedule_options))]
        )
        warm_up = (
            f"; linear warm-up over {training.warmup_epochs:g} {'epoch' if training.warmup_epochs == 1 else 'epochs'}"
            if training.warmup_epochs
            else ""
        )
        facts["rate"] = rate + warm_up
    where = "every learned parameter" if training.l2_scope == "all" else "convolution and dense weights"
    meaning = "" if training.optimiser == "sgd" else f" ({optimiser.decay})"
    return {**facts, "ℓ2": f"{training.l2:g} on {where}{meaning}"}


def _told(training: Training, settings: Sequence[str]) -> dict[str, object]:
    return {name: getattr(training, name) for name in settings}


def _listed(settings: Mapping[str, object]) -> list[str]:
    """Settings in words: "momentum 0.9", "milestones 80 120"; a switch that is off is not told."""
    words = []
    for name, value in settings.items():
        if isinstance(value, bool):
            words += [name] if value else []
        elif isinstance(value, tuple):
            words.append(f"{name} {' '.join(f'{each:g}' for each in value)}")
        else:
            words.append(f"{name} {value:g}" if isinstance(value, int | float) else f"{name} {value}")
    return words


def _network(traced: list[TracedLayer], digits: dict[str, str], variant: Variant) -> Table:
    from bnbench.analysis.table import Cell, Column, Kind, Table, Tone, whole
    from bnbench.architecture import Conv, Dense

    forward = 2 * sum(each.multiply_adds for each in traced)
    unit, prefix = (1e6, "M") if forward >= SMALL_NETWORK else (1e3, "k")
    columns = (
        Column("layer", "layer", Kind.IDENTIFIER),
        Column("operation", "operation"),
        Column("output", "output", priority=2),
        Column("gamma", "γ"),
        Column("beta", "β"),
        Column("learned", "learned", Kind.NUMBER, show=whole),
        Column("flop", f"{prefix}FLOP", Kind.NUMBER, show=lambda value: f"{value:,.1f}", priority=1),
    )
    nothing = Cell(None, "")
    rows: list[tuple[Value | Cell, ...]] = []
    total = 0
    for each in traced:
        layer, shape = each.layer, "×".join(map(str, each.output_shape))
        if not isinstance(layer, Conv | Dense):
            quiet = (Cell(told, tone=Tone.QUIET) for told in (_operation(layer), shape))
            rows.append((None, *quiet, None, None, nothing, nothing))
            continue
        normalised = digits[layer.name] == "1"
        learned = _learned(each, variant, normalised=normalised)
        total += learned
        gamma, beta = (str(rule.status) if normalised else "–" for rule in (variant.gamma, variant.beta))
        rows.append((layer.name, _operation(layer), shape, gamma, beta, learned, 2 * each.multiply_adds / unit))
    sums = (Cell(total, tone=Tone.BEST), Cell(forward / unit, tone=Tone.BEST))
    rows.append((Cell("in all", tone=Tone.BEST), None, None, None, None, *sums))
    return Table("network", columns, tuple(rows))


def _operation(layer: Layer) -> str:
    """A layer in a few words."""
    from bnbench.architecture import Conv, Dense, Dropout, Flatten, GlobalMean, MaxPool

    match layer:
        case Conv():
            activation = ", ReLU" if layer.activation else ""
            return f"conv {layer.kernel}×{layer.kernel}/{layer.stride} {layer.padding}{activation}"
        case Dense():
            return "dense, ReLU" if layer.activation else "dense"
        case MaxPool():
            return f"max pool {layer.kernel}×{layer.kernel}/{layer.stride}"
        case Dropout():
            return f"dropout {layer.rate:g}"
        case Flatten():
            return "flatten"
        case GlobalMean():
            return "mean over the map"
        case other:
            assert_never(other)


def _learned(slot: TracedLayer, variant: Variant, *, normalised: bool) -> int:
    """How many numbers the optimiser moves in a slot."""
    channels = slot.output_shape[0]
    bias = not (normalised and variant.normalises)
    affine = sum(rule.is_learned for rule in (variant.gamma, variant.beta)) if normalised else 0
    return (slot.weights + channels * bias) * variant.train_weights + channels * affine


def _cost(problem: Problem, traced: list[TracedLayer]) -> str:
    forward = 2 * sum(each.multiply_adds for each in traced)
    step = (1 + BACKWARD) * forward * problem.training.batch_size
    return (
        f"  cost: {forward / 1e6:,.3g} MFLOP an image forward, {step / 1e9:,.3g} GFLOP a training step "
        f"(convolutions and dense layers, 2 FLOP a multiply-add, backward = {BACKWARD} × forward)"
    )


def _source(target: Target) -> str:
    from bnbench.problem import DeepOBSSource

    source = target.source
    if isinstance(source, DeepOBSSource):
        where = f"{source.problem}, {source.optimizer}, learning rate {source.learning_rate:g}, epoch {source.epoch}"
        return f"{source.statistic}; DeepOBS {source.deepobs}: {where}, seeds {', '.join(map(str, source.seeds))}"
    return f"{source.statistic}; commit {source.commit}, runs {', '.join(source.run_ids)}"
