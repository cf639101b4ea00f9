"""Made-up runs with every probe: each number follows from variant, seed and step, so that it can be said by hand."""

from __future__ import annotations

from support.figure_runs import SEEDS, SLOTS, VARIANTS, affine, run
from support.synthetic_store import SyntheticRun

STEPS = (0, 10, 20, 30, 40)
SIZES = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Steps along the gradient, in learning rates."""
RATE = 0.1
GRADIENT = 2.0
"""‖g₀‖, at every step."""
PROBES = {f"probes.{name}": True for name in ("landscape", "covariate_shift", "spectrum", "activations")}
CLASSES = 10


def level(variant: str, seed: int) -> float:
    """Another one for each variant and seed: 1, 1.1, 1.2 for the seeds of the first, 2, 2.1 … of the second."""
    return 1 + VARIANTS.index(variant) + SEEDS.index(seed) / 10


def landscape(variant: str, seed: int, steps=STEPS) -> list[tuple]:
    """L_a = level·(1 + a/η/10), ‖g_a − g₀‖ = level·a/η."""
    height = level(variant, seed)
    return [
        (step, step // 10, "batch", share * RATE, share, height * (1 + share / 10), GRADIENT, height * share, 0.5)
        for step in steps
        for share in SIZES
    ]


def covariate_shift(variant: str, seed: int, steps=STEPS[:-1]) -> list[tuple]:
    """The relative shift is the level times the slot's place, 1 for the second slot."""
    height = level(variant, seed)
    return [
        (step, step // 10, "batch", slot, GRADIENT, height * place * GRADIENT, height * place, 0.5)
        for step in steps
        for place, slot in enumerate((*SLOTS, "dense3"))
        if place
    ]


def spectrum(variant: str, seed: int, steps=STEPS) -> list[tuple]:
    """Nine tenths at 0, the rest at the level; two draws alike."""
    nodes = ((0.0, 0.9), (level(variant, seed), 0.1))
    return [
        (step, step // 10, "batch", draw, place, *node)
        for step in steps
        for draw in range(2)
        for place, node in enumerate(nodes, start=1)
    ]


def eigenvalues(variant: str, seed: int, steps=STEPS) -> list[tuple]:
    """λ₁ is 12 levels, λ₂ 11 … λ₁₂ one; each has 0.05 of the gradient."""
    return [
        (step, step // 10, "batch", place, level(variant, seed) * (13 - place), 0.05, 1e-6)
        for step in steps
        for place in range(1, CLASSES + 3)
    ]


def activations(variant: str, seed: int, epochs=5) -> list[tuple]:
    """Mean −level, deviation the level times the slot's place from 1, kurtosis 3, a quarter never positive."""
    height = level(variant, seed)
    return [
        (epoch, 10 * epoch, "batch", slot, -height, height * place, 3.0, 0.25)
        for epoch in range(epochs)
        for place, slot in enumerate((*SLOTS, "dense3"), start=1)
    ]


TABLES = {each.__name__: each for each in (landscape, covariate_shift, spectrum, eigenvalues, activations)}
"""Table to what a run of (variant, seed) recorded in it."""


def probed(variant: str, seed: int, problem: str = "cifar10_3c3d", **changes) -> SyntheticRun:
    """A run with everything that a probe records, and with γ that is switched off bit by bit."""
    tables = {table: recorded(variant, seed) for table, recorded in TABLES.items()}
    parameters = {} if variant == "vanilla" else affine(variant, seed)
    if "gamma" in variant:
        parameters["conv2", "gamma"] = (STEPS, [[1, 1, 1, 1], [1, 1, 1, 0.001], [1, 1, 0, -0.009], [1] * 4, [0.5] * 4])
    changes = {"probed": {**tables, "probe_notes": []}, "affine": parameters, "overrides": PROBES, **changes}
    return run(variant, seed, problem, **changes)
