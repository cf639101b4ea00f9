"""Runs as they are after measuring, made up: what a ranking can be tested on without a store."""

from __future__ import annotations

import math

from bnbench.analysis.measures import CurveMeasures, RunMeasures, TimeToTarget
from bnbench.analysis.records import RunRecord
from bnbench.components.placements import SlotPlace, parse_placement
from bnbench.measurement import RunIdentity
from bnbench.problem import RunsSource, Target

TARGET = Target(
    metric="accuracy",
    split="test",
    level=0.8,
    source=RunsSource(run_ids=("a-run",), commit="0123abc", statistic="made up"),
)
HARDER = TARGET.model_copy(update={"level": 0.9})
MISSED = math.inf


def run(
    variant,
    seed,
    final,
    *,
    setting="s1",
    problem="p1",
    placement="hidden",
    rate=0.1,
    size="full",
    epochs=20,
    steps=None,
    targets=(TARGET,),
    device="cpu",
    fingerprint="f",
    row="row",
    overrides=(),
    loss=0.5,
):
    """A run measured: `final` None is diverged, `steps` the steps to each target (ten an epoch), None for no target."""
    place = "none" if variant == "vanilla" else placement
    run_id = f"{setting}-{variant}-{place}-{rate}-s{seed}-{row}"
    given_steps = () if steps is None else steps if isinstance(steps, tuple) else (steps,)
    times = tuple(TimeToTarget(t, s / 10, s) for t, s in zip(targets, given_steps, strict=False))
    number = None if final is None else float(final)
    slots = ("conv1", "conv2", "conv3", "dense1", "dense2", "dense3")
    mask = "000000" if place == "none" else parse_placement(placement, slots)
    return RunMeasures(
        RunRecord(
            identity=RunIdentity(run_id, setting, problem, size, variant, place, mask, rate, seed),
            status="finished" if final is not None else "diverged",
            diverged_at_step=3 if final is None else None,
            error=None,
            readable=True,
            tables=("curves", "steps", "affine", "timing"),
            dataset="digits",
            fingerprint=fingerprint,
            data_origin="embedded",
            data_split=None,
            architecture="3c3d",
            width=1.0,
            places=tuple(map(SlotPlace, slots)),
            epochs=epochs,
            batch_size=50,
            precision="fp32",
            device=device,
            variant_row=f"{variant} {row}",
            overrides=overrides,
        ),
        measures=CurveMeasures(
            final_train_loss=None if final is None else loss,
            final_train_accuracy=number,
            final_valid_accuracy=number,
            final_test_accuracy=number,
            best_train_loss=0.4,
            best_train_accuracy=0.99,
            area=number,
            early_train_accuracy=0.3,
            times=times,
        ),
    )


GOLDEN = [
    # variant, three seeds' final accuracy, three seeds' steps to the target
    ("vanilla", (0.50, 0.60, 0.70), (MISSED, MISSED, 100)),
    ("bn", (0.60, 0.72, 0.84), (40, 50, 60)),
    ("bn_beta", (0.72, 0.72, 0.72), (100, 100, 100)),
    ("bn_gamma", (0.90, None, 0.90), (20, MISSED, 20)),
    ("bn_gamma_beta", (0.80, 0.90, 1.00), (MISSED, MISSED, MISSED)),
]


def golden(**fields):
    return [
        run(variant, seed, final, steps=steps, **fields)
        for variant, finals, times in GOLDEN
        for seed, final, steps in zip((1, 2, 3), finals, times, strict=True)
    ]


def trio(finals, steps, *, seeds=(1, 2, 3), **fields):
    """vanilla, BN and BN_β with the same numbers in every seed."""
    names = ("vanilla", "bn", "bn_beta")
    return [
        run(variant, seed, final, steps=time, **fields)
        for variant, final, time in zip(names, finals, steps, strict=True)
        for seed in seeds
    ]


def several():
    return [
        # p1, two placements: ranks (3, 1, 2) and (2, 1, 3), averaged (2.5, 1, 2.5)
        *trio((0.5, 0.9, 0.7), (80, 20, 40), setting="s1", problem="p1"),
        *trio((0.5, 0.6, 0.4), (80, 40, MISSED), setting="s1", problem="p1", placement="every")[3:],
        # p2: nobody reaches the target; ranks (3, 1.5, 1.5), a tie
        *trio((0.5, 0.6, 0.6), (MISSED,) * 3, setting="s2", problem="p2"),
        # p3: no target; vanilla diverges: ranks (3, 2, 1)
        *trio((None, 0.6, 0.7), (None,) * 3, setting="s3", problem="p3"),
    ]
