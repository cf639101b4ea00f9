"""Made-up runs for figures: every value follows from variant, seed and layer."""

from __future__ import annotations

import numpy as np

from support.synthetic_store import SyntheticRun

VARIANTS = ("vanilla", "bn", "bn_beta", "bn_gamma", "bn_gamma_beta")
SEEDS = (4842821, 42, 43)
SLOTS = ("conv1", "conv2", "conv3", "dense1", "dense2")
STEPS = tuple(range(0, 45, 5))


def place(variant: str) -> int:
    """Among the studied variants; of any other behind them."""
    return VARIANTS.index(variant) if variant in VARIANTS else len(VARIANTS)


def accuracy(variant: str, seed: int) -> list[float]:
    """Five points, another level for each variant and seed."""
    level = 0.3 + 0.1 * place(variant) + 0.01 * SEEDS.index(seed)
    return [0.1, *(round(level * share, 6) for share in (0.5, 0.8, 0.9, 1.0))]


def affine(variant: str, seed: int) -> dict:
    """γ and β of five layers: γ moves away from 1 in both directions, β from 0; frozen ones stay."""
    generator = np.random.default_rng([seed, place(variant)])
    tables: dict = {}
    for index, slot in enumerate(SLOTS):
        channels = 4 + index
        drift = generator.normal(size=channels) * (index + 1)
        for parameter, neutral in (("gamma", 1.0), ("beta", 0.0)):
            learned = parameter in variant.removeprefix("bn_").split("_")
            values = [[neutral + learned * change * step / 400 for change in drift] for step in STEPS]
            tables[slot, parameter] = (STEPS, values)
    return tables


def run(variant: str, seed: int, problem: str = "cifar10_3c3d", **changes) -> SyntheticRun:
    """One run, of CIFAR-10 3C3D if nothing else is said, at the problem's own settings but for the number of epochs."""
    curves = {"accuracy": accuracy(variant, seed), "loss": [2.3, *(1.5 - 0.1 * n for n in range(1, 5))]}
    parameters = {} if variant == "vanilla" else affine(variant, seed)
    return SyntheticRun(problem, variant, seed, **{**curves, "affine": parameters, **changes})
