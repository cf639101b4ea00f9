"""`bnbench show`: one problem, slot by slot, with its settings, targets and cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

import click

from bnbench.cli.options import plugin_option, size_option
from bnbench.cli.output import Styled, print_tables, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bnbench.analysis.table import Table, Value
    from bnbench.components.architectures import Layer, Subsample, TracedLayer
    from bnbench.components.placements import SlotPlace
    from bnbench.components.probes import NetworkSize
    from bnbench.problem import Probes, Problem, Size, Target, Training
    from bnbench.slot_plan import SlotPlan

BACKWARD = 2
"""A backward pass costs about twice a forward pass: gradients of the inputs and of the weights."""
SMALL_NETWORK = 1e7
"""FLOP an image; below it the table counts in kFLOP."""


@click.command("show")
@click.argument("name", metavar="PROBLEM")
@click.option("--placement", help="Show the network under this placement; default: the problem's.")
@click.option("--variant", default="bn_gamma_beta", show_default=True, help="Show the network of this variant.")
@size_option
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting. Repeatable.")
@plugin_option
def command(name: str, placement: str | None, variant: str, size: Size, overrides: tuple[str, ...]) -> None:
    """Describe a problem: data, network, settings, targets, cost.

    \b
    Examples:
      bnbench show cifar10_3c3d
      bnbench show cifar100_allcnnc --placement every --variant bn_beta
      bnbench show cifar10_3c3d --set probes.spectrum=true
    """
    from bnbench.components.architectures import ARCHITECTURES, slot_places, trace
    from bnbench.components.placements import NOWHERE, canonical_placement, parse_placement
    from bnbench.components.probes import network_size
    from bnbench.components.variants import VARIANTS
    from bnbench.data.own_arrays import dataset_of
    from bnbench.execution.selection import Settings
    from bnbench.identity import LONGEST_MASK
    from bnbench.problem import find_problem
    from bnbench.slot_plan import plan_slots

    problem = find_problem(name).problem(size, Settings(overrides=overrides).changes)
    dataset = dataset_of(problem.dataset, problem.dataset_file)
    architecture = ARCHITECTURES.get(problem.architecture)
    row = VARIANTS.get(variant)
    layers = architecture.layer_table(dataset.classes, problem.width)
    places = slot_places(layers)
    mask = parse_placement(placement or problem.placements[0], places)
    if not row.alters_slots:
        mask = "0" * len(mask)
    image = architecture.image_size
    traced = trace(layers, (dataset.channels, image, image))

    say(Styled(problem.name, bold=True), f"  {problem.summary}")
    weight = network_size(traced, dataset.classes, problem.training.batch_size)
    data = dataset.title if problem.dataset_file is None else f"{dataset.title} ({dataset.summary})"
    print_tables([_settings(problem, data, architecture.title, weight)])
    shown = canonical_placement(mask, places)
    digits = f"mask {mask}" if len(mask) <= LONGEST_MASK else f"{mask.count('1')} of {len(mask)} slots"
    where = "no normaliser anywhere" if shown == NOWHERE else f"placement {shown} ({digits})"
    say("\n", Styled(architecture.title, bold=True), f" as {row.symbol}: {where}")
    plans = plan_slots(row, traced, places, mask, batch_size=problem.training.batch_size)
    print_tables([_network(traced, places, {plan.site.slot: plan for plan in plans})])
    say(_cost(problem, traced))
    say("\n", Styled("Targets", bold=True))
    for target in problem.targets:
        say(f"  {target.split} {target.metric} {target.sign} {target.level:g}")
        say(Styled(f"    {_source(target)}", dim=True))
    if not problem.targets:
        say("  no target: none has a source yet")


def _probe(probes: Probes, name: str, size: NetworkSize) -> str:
    """A probe that is on, and the memory that it needs where that is much."""
    from bnbench.components.probes import PROBES, probe_bytes

    needed = probe_bytes(PROBES.get(name), probes.options(name), size)
    return f"{name} (up to {needed / 1e9:.2g} GB)" if needed else name


def _settings(problem: Problem, data: str, network: str, size: NetworkSize) -> Table:
    from bnbench.analysis.table import Column, Kind, Table

    changes = {key: value for key, value in problem.augmentation.model_dump().items() if value}
    facts = {
        "reproduces": problem.source,
        "data": f"{data}, split seed {problem.split_seed}",
        "network": network if problem.width == 1 else f"{network}, width ×{problem.width:g}",
        "placements": ", ".join(problem.placements),
        **_training(problem.training),
        "augmentation": ", ".join(f"{key.replace('_', ' ')} {value:.4g}" for key, value in changes.items()) or "none",
        "snapshots": problem.snapshots.schedule,
        "probes": ", ".join(_probe(problem.probes, name, size) for name in problem.probes.on) or "none",
        "seeds": ", ".join(map(str, problem.seeds)),
    }
    counts = {"train on": problem.training.images, "validate and test on": problem.evaluation.images}
    if any(counts.values()):
        facts["images"] = ", ".join(f"{use} {count:,}" for use, count in counts.items() if count)
    columns = (Column("setting", ""), Column("value", "", Kind.PROSE))
    return Table("settings", columns, tuple((f"  {name}", value) for name, value in facts.items()), headless=True)


def _training(training: Training) -> dict[str, str]:
    """The settings of the optimiser and of the rate; a constant rate needs no line of its own."""
    from bnbench.components.optimisers import OPTIMISERS
    from bnbench.components.rate_schedules import RATE_SCHEDULES
    from bnbench.learning_rate import is_constant

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


def _network(traced: list[TracedLayer], slots: Sequence[SlotPlace], plans: Mapping[str, SlotPlan]) -> Table:
    from bnbench.analysis.table import Cell, Column, Kind, Table, Tone, whole
    from bnbench.components.architectures import Conv, Dense, Norm, Residual
    from bnbench.slot_plan import shown_options

    forward = 2 * sum(each.multiply_adds for each in traced)
    unit, prefix = (1e6, "M") if forward >= SMALL_NETWORK else (1e3, "k")
    places = {place.name: place for place in slots}
    stages = {place.block: place.stage for place in slots if place.block is not None}
    has_roles = any(place.role is not None for place in slots)
    with_options = any(shown_options(plan) for plan in plans.values())
    columns = (
        Column("layer", "layer", Kind.IDENTIFIER),
        *((Column("role", "role"),) if has_roles else ()),
        Column("operation", "operation"),
        Column("output", "output", priority=2),
        Column("gamma", "γ"),
        Column("beta", "β"),
        *((Column("options", "options"),) if with_options else ()),
        Column("learned", "learned", Kind.NUMBER, show=whole),
        Column("flop", f"{prefix}FLOP", Kind.NUMBER, show=lambda value: f"{value:,.1f}", priority=1),
    )
    nothing = Cell(None, "")
    rows: list[tuple[Value | Cell, ...]] = []
    total = 0
    for each in traced:
        layer, shape = each.layer, "×".join(map(str, each.output_shape))
        inside = "  " if each.block is not None else ""
        if not isinstance(layer, Conv | Dense | Norm):
            name = layer.name if isinstance(layer, Residual) else None
            stage = Cell(stages[name], f"stage {stages[name]}", tone=Tone.QUIET) if name in stages else None
            quiet = (Cell(told, tone=Tone.QUIET) for told in (inside + _operation(layer), shape))
            rows.append(
                (name, *((stage,) if has_roles else ()), *quiet, *[None] * (2 + with_options), nothing, nothing)
            )
            continue
        plan = plans[layer.name]
        total += plan.learned
        told = [plan.gamma, plan.beta]
        if with_options:
            told.append(", ".join(f"{name} {value}" for name, value in shown_options(plan).items()) or "–")
        shown = Cell(layer.name, inside + layer.name)
        role = (places[layer.name].role,) if has_roles else ()
        flop = 2 * each.multiply_adds / unit
        rows.append((shown, *role, inside + _operation(layer), shape, *told, plan.learned, flop))
    sums = (Cell(total, tone=Tone.BEST), Cell(forward / unit, tone=Tone.BEST))
    rows.append((Cell("in all", tone=Tone.BEST), *[None] * (4 + has_roles + with_options), *sums))
    return Table("network", columns, tuple(rows))


def _operation(layer: Layer | Subsample) -> str:
    """A layer in a few words."""
    from bnbench.components.architectures import (
        Conv,
        Dense,
        Dropout,
        Flatten,
        GlobalMean,
        MaxPool,
        Norm,
        Residual,
        Subsample,
    )

    match layer:
        case Conv():
            padding = layer.padding if isinstance(layer.padding, str) else f"pad {layer.padding}"
            told = f"conv {layer.kernel}×{layer.kernel}/{layer.stride} {padding}{_then_relu(layer.activation)}"
        case Dense():
            told = f"dense{_then_relu(layer.activation)}"
        case Norm():
            told = f"normaliser alone{_then_relu(layer.activation)}"
        case Residual():
            added = "its input" if layer.shortcut == () else "the shortcut"
            told = f"block: body plus {added}{_then_relu(layer.activation)}"
        case Subsample():
            told = f"shortcut: every pixel of {layer.stride}, zeros to {layer.channels} channels"
        case MaxPool():
            told = f"max pool {layer.kernel}×{layer.kernel}/{layer.stride}"
        case Dropout():
            told = f"dropout {layer.rate:g}"
        case Flatten():
            told = "flatten"
        case GlobalMean():
            told = "mean over the map"
        case other:
            assert_never(other)
    return told


def _then_relu(activation: bool) -> str:
    return ", ReLU" if activation else ""


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
