"""`bnbench show`: one problem, slot by slot, with its settings, targets and cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

import click

from bnbench.cli.options import size_option
from bnbench.cli.output import print_tables

if TYPE_CHECKING:
    from bnbench.analysis.table import Table, Value
    from bnbench.architecture import Layer, TracedLayer
    from bnbench.problem import Problem, Target
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
def command(name: str, placement: str | None, variant: str, size: str) -> None:
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

    problem = find_problem(name).problem("tiny" if size == "tiny" else "full")
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

    training, augmentation = problem.training, problem.augmentation
    changes = {key: value for key, value in augmentation.model_dump().items() if value}
    facts = {
        "reproduces": problem.source,
        "data": f"{data}, split seed {problem.split_seed}",
        "network": network if problem.width == 1 else f"{network}, width ×{problem.width:g}",
        "placements": ", ".join(problem.placements),
        "training": f"SGD, learning rate {training.learning_rate!r}, momentum {training.momentum:g}, "
        f"batch {training.batch_size}, {training.epochs} epochs",
        "ℓ2": f"{training.l2:g} on convolution and dense weights",
        "augmentation": ", ".join(f"{key.replace('_', ' ')} {value:.4g}" for key, value in changes.items()) or "none",
        "snapshots": problem.snapshots.schedule,
        "probes": ", ".join(problem.probes.on) or "none",
        "seeds": ", ".join(map(str, problem.seeds)),
    }
    columns = (Column("setting", ""), Column("value", "", Kind.PROSE))
    return Table("settings", columns, tuple((f"  {name}", value) for name, value in facts.items()), headless=True)


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
