"""What a training step costs under each row of the table of variants, as a multiple of BatchNorm's.

    python tests/measure/variant_steps.py [--rounds 5] [--variant NAME …]

3C3D at its full width, 128 images of 32×32 pixels, one thread, channels_last: forward, backward and update. The rows
are timed in turn, round after round, so that what else the machine does strikes them alike; a number is the median of
the rounds' ratios to `bn_gamma_beta` of the same round. Rows that do the same work are one. Where torch has a module of
its own (`torch: …`), it stands in the slots instead, for comparison.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import click
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from bnbench.components.architectures import ARCHITECTURES, slot_names
from bnbench.components.placements import parse_placement
from bnbench.components.variants import VARIANTS
from bnbench.network.build import Network
from bnbench.problem import Training
from bnbench.training.optimiser import build_optimiser
from bnbench.training.seeding import StepDraws, generator

BASELINE = "bn_gamma_beta"
ROWS = (
    "vanilla", "bn", "ln_gamma_beta", "gn_gamma_beta", "wn_gamma_beta", "wn_init", "ws_bn_gamma_beta",
    "ws_ln_gamma_beta", "ws_gn_gamma_beta", "ws_scaled", "bn_detached", "bn_init_stats", "bn_mean_only", "bn_var_only",
    "bn_ghost16", "bn_ghost32", "bn_running", "bn_population", "bn_l1", "bn_linf", "bn_noisy",
    "bn_u", "bn_only", "random_entries", "affine", "affine_only",
)  # fmt: skip
MAPS = "first:3"
ON_MAPS = ("bn_gamma_beta", "in_gamma_beta")
LAYERS = ARCHITECTURES.get("3c3d").layers(10, 1.0)
BATCH = 128


def network(name: str, placement: str) -> Network:
    row = VARIANTS.get(name)
    mask = parse_placement(placement, slot_names(LAYERS)) if row.alters_slots else "0" * 6
    built = Network(LAYERS, (3, 32, 32), mask, row)

    def streams(stream, *keys):
        return generator(1, stream, *keys)

    built.initialise(lambda slot: streams("weights", slot), streams)
    return built


def with_modules(name: str, placement: str, make: Callable[[int, bool], nn.Module]) -> Network:
    """A network with torch's own modules in the place of the normalisers."""
    built = network(name, placement)
    for slot in built.slots.values():
        if slot.normaliser is not None:
            slot.normaliser = make(len(slot.normaliser.weight), isinstance(slot.linear, nn.Conv2d))
    return built


def with_weight_norm() -> Network:
    built = network("vanilla", "hidden")
    for name in slot_names(LAYERS)[:-1]:
        parametrizations.weight_norm(built.slots[name].linear, dim=0)
    return built


class Contestant:
    """One network, ready for its next step."""

    def __init__(self, built: Network, name: str) -> None:
        self.network = built.to(memory_format=torch.channels_last)
        training = Training(batch_size=BATCH, epochs=1, learning_rate=0.01, l2=0.002, momentum=0.9)
        if name.startswith("torch"):
            learned = [parameter for parameter in built.parameters() if parameter.requires_grad]
            self.optimiser = torch.optim.SGD(learned, lr=0.01, momentum=0.9, weight_decay=0.002)
        else:
            self.optimiser = build_optimiser(self.network, VARIANTS.get(name.split(maxsplit=1)[0]), training)
        self.done = 0

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> float:
        began = time.perf_counter()
        loss = functional.cross_entropy(self.network(images, StepDraws(1, self.done)), labels)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.done += 1
        return time.perf_counter() - began


def contestants(rows: tuple[str, ...]) -> dict[str, Contestant]:
    built = {name: network(name, "hidden") for name in dict.fromkeys((BASELINE, *rows))}
    built |= {f"{name} {MAPS}": network(name, MAPS) for name in ON_MAPS}
    built["torch: GroupNorm(1, C)"] = with_modules(BASELINE, "hidden", lambda c, _: nn.GroupNorm(1, c))
    built["torch: GroupNorm(32, C)"] = with_modules(BASELINE, "hidden", lambda c, _: nn.GroupNorm(32, c))
    built[f"torch: InstanceNorm2d {MAPS}"] = with_modules(
        BASELINE, MAPS, lambda c, _: nn.InstanceNorm2d(c, affine=True)
    )
    built["torch: weight_norm"] = with_weight_norm()
    return {name: Contestant(each, name) for name, each in built.items()}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--variant", action="append", help="rows; default: one of each kind")
    given = options.parse_args()
    torch.set_num_threads(1)
    images = torch.randn(BATCH, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (BATCH,))
    everyone = contestants(tuple(given.variant or ROWS))
    seconds: dict[str, list[float]] = {name: [] for name in everyone}
    for turn in range(given.rounds + 1):
        for name, each in everyone.items():
            taken = each.step(images, labels)
            if turn > 0:  # the first round is for warming up
                seconds[name].append(taken)
    for name, own in seconds.items():
        against = seconds[f"{BASELINE} {MAPS}" if MAPS in name else BASELINE]
        ratio = statistics.median(mine / theirs for mine, theirs in zip(own, against, strict=True))
        click.echo(f"{name:32s} {statistics.median(own) * 1e3:8.1f} ms  × {ratio:.2f}")


if __name__ == "__main__":
    main()
