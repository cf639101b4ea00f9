"""Small runs and networks on made-up images, for the tests of the network and training rooms."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from bnbench.components.architectures import Layer, slot_places
from bnbench.components.placements import parse_placement
from bnbench.components.variants import STUDIED, VARIANTS, Variant
from bnbench.data.dataset import Dataset
from bnbench.data.images import LabelledImages, Splits
from bnbench.data.pipeline import ImagePipeline
from bnbench.measurement import TABLES
from bnbench.network.build import Network
from bnbench.plan import DataFacts, RunSpec, expand_grid
from bnbench.problem import Problem
from bnbench.training.events import (
    Diverged,
    EpochEvaluated,
    Event,
    Finished,
    Measured,
    Paused,
    StepReached,
)
from bnbench.training.loop import Trainer
from bnbench.training.numerics import numerics
from bnbench.training.seeding import generator

CPU = torch.device("cpu")
FACTS = DataFacts("made_up", classes=4, channels=1, fingerprint="0" * 64, origin="other copy")
FIVE = tuple(VARIANTS.get(name) for name in STUDIED)

E = TypeVar("E", bound=Event)


def variant_named(name: str) -> Variant:
    """A row of the variant table."""
    return VARIANTS.get(name)


def build(
    layers: tuple[Layer, ...], input_shape: tuple[int, ...], variant: Variant, placement: str = "hidden"
) -> Network:
    """A network, its placement given as an expression; vanilla has the empty mask, as a plan gives it."""
    mask = parse_placement(placement, slot_places(layers))
    return Network(layers, input_shape, mask if variant.alters_slots else "0" * len(mask), variant)


def initialised(network: Network, seed: int = 7) -> Network:
    """A network whose weights were drawn."""
    network.initialise(lambda slot: generator(seed, "weights", slot), partial(generator, seed))
    return network


def randomised(network: Network) -> Network:
    """γ, β, biases and running statistics made different from where they start."""
    random = torch.Generator().manual_seed(5)
    for name, tensor in network.state_dict().items():
        if name.endswith(("normaliser.weight", "running_var")):
            tensor.copy_(torch.rand(tensor.shape, generator=random) + 0.5)
        elif name.endswith(("bias", "running_mean")):
            tensor.copy_(torch.randn(tensor.shape, generator=random) * 0.2)
    return network


def run_spec(
    variant: Variant | str = "bn_gamma_beta",
    placement: str = "hidden",
    *,
    architecture: str = "3c3d",
    lr_factor: float = 1.0,
    seed: int = 7,
    precision: str = "fp32",
    schedule: str = "every:5",
    crop_padding: int = 2,
    sparsity: bool = False,
    rates: str = "constant",
    **training: Any,
) -> RunSpec:
    """A resolved run of a network that is as narrow as it gets: 64 images a epoch, 8 a batch.

    `schedule` is that of the snapshots, `rates` that of the learning rate.
    """
    settings = {"batch_size": 8, "epochs": 2, "learning_rate": 0.05, "l2": 0.002, "schedule": rates, **training}
    problem = Problem.model_validate(
        {
            "name": "made_up",
            "size": "full",
            "summary": "made-up images",
            "source": "a test",
            "dataset": "made_up",
            "architecture": architecture,
            "width": 0.0625,
            "placements": ["hidden"],
            "seeds": [7, 8],
            "split_seed": 1,
            "training": settings,
            "augmentation": {"crop_padding": crop_padding},
            "snapshots": {"schedule": schedule},
            "probes": {"sparsity": sparsity},
        }
    )
    row = variant_named(variant) if isinstance(variant, str) else variant
    (spec,) = expand_grid(
        problem, FACTS, [row], placements=[placement], lr_factors=[lr_factor], seeds=[seed], precision=precision
    )
    return spec


def splits(sizes: tuple[int, int, int, int] = (67, 41, 13, 11), pixels: int = 8) -> Splits:
    """Images of four classes: a pattern per class and noise.

    Args:
        sizes: of train, train_eval (the first images of train), valid and test.
        pixels: height and width.
    """
    random = np.random.default_rng(11)
    patterns = random.integers(0, 17, (FACTS.classes, pixels, pixels, 1))

    def draw(count: int) -> LabelledImages:
        labels = random.integers(0, FACTS.classes, count)
        noisy = patterns[labels] + random.integers(-5, 6, (count, pixels, pixels, 1))
        return LabelledImages(noisy.clip(0, 16).astype(np.uint8), labels.astype(np.int64))

    train, train_eval, valid, test = sizes
    images = draw(train)
    return Splits(train=images, train_eval=images.take(np.arange(train_eval)), valid=draw(valid), test=draw(test))


def pipeline(spec: RunSpec, images: Splits | None = None) -> ImagePipeline:
    """The made-up images as the run of a spec gets them."""
    images = splits() if images is None else images
    dataset = Dataset(
        name="made_up",
        title="Made up",
        summary="patterns and noise",
        images=sum(map(len, (images.train, images.valid, images.test))),
        classes=FACTS.classes,
        channels=FACTS.channels,
        largest_value=16,
        mean=None,
        std=None,
        identify=lambda: FACTS,
        load_splits=lambda _seed: images,
    )
    return ImagePipeline(
        images, dataset=dataset, image_size=spec.input_shape[1], augmentation=spec.augmentation, device=CPU
    )


def trainer(spec: RunSpec, images: Splits | None = None) -> Trainer:
    """A trainer on the made-up images."""
    return Trainer(spec, pipeline(spec, images), CPU)


@dataclass
class Told:
    """What a loop has said, the events of one kind together."""

    events: list[Event] = field(default_factory=list)

    def of(self, kind: type[E]) -> list[E]:
        """Every event of a kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    def rows_of(self, table: str) -> list[Measured]:
        """What was measured for a table, in order."""
        return [event for event in self.of(Measured) if event.table == table]

    @property
    def last(self) -> Event:
        """The last event."""
        return self.events[-1]

    def column(self, name: str) -> np.ndarray:
        """A column of the steps table."""
        return np.concatenate([event.columns[name] for event in self.rows_of("steps")])

    def snapshots(self) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
        """(slot, parameter) to (steps, values) of the whole run."""
        found: dict[tuple[str, str], list[Measured]] = {}
        for event in self.rows_of("affine"):
            for key in set(zip(event.columns["slot"], event.columns["parameter"], strict=True)):
                found.setdefault(key, []).append(event)
        return {
            key: tuple(np.concatenate([each.columns[name] for each in blocks]) for name in ("step", "values"))
            for key, blocks in found.items()
        }

    def evaluations(self) -> list[tuple[object, ...]]:
        """The rows of the curves table."""
        return self.table("curves")

    def table(self, name: str) -> list[tuple[object, ...]]:
        """The rows of a table, as plain values in the order of its columns."""
        return [
            row
            for event in self.rows_of(name)
            for row in zip(
                *(np.asarray(event.columns[each.name]).tolist() for each in TABLES[name].columns), strict=True
            )
        ]

    def rows(self) -> bytes:
        """Everything recorded, as bytes: equal runs have equal bytes; seconds and images a second are not in it."""
        parts = [self.column(name).tobytes() for name in ("step", "epoch", "batch_loss", "batch_accuracy")]
        parts.append(self.column("learning_rate").tobytes())
        for (slot, parameter), (steps, values) in self.snapshots().items():
            parts += [f"{slot} {parameter}".encode(), steps.tobytes(), values.tobytes()]
        floats = [(row[:4], float(row[4]).hex(), float(row[5]).hex()) for row in self.evaluations()]
        return b"|".join([*parts, repr(floats).encode()])


def train(run: Trainer, pause: Callable[[], bool] | None = None) -> Told:
    """Everything a trainer says, under the run's own arithmetic on one thread."""
    with numerics(run.spec.precision, CPU, threads=1):
        return Told(list(run.events() if pause is None else run.events(pause)))


def kinds(events: Iterable[Event]) -> list[str]:
    """One letter an event: r(eached) e(valuated) d(iverged) p(aused) f(inished); of what was measured s(teps) a(ffine)
    c(urves) t(iming) z(eroed)."""
    letters = {StepReached: "r", EpochEvaluated: "e", Diverged: "d", Paused: "p", Finished: "f"}
    tables = {"steps": "s", "affine": "a", "curves": "c", "timing": "t", "sparsity": "z"}
    return [tables[event.table] if isinstance(event, Measured) else letters[type(event)] for event in events]


def digest(tensor: Tensor) -> str:
    """A hash of shape, type and values, whatever their order in memory."""
    array = tensor.detach().contiguous().cpu().numpy()
    return hashlib.sha256(repr((array.shape, array.dtype.str)).encode() + array.tobytes()).hexdigest()


def same_bits(left: Tensor, right: Tensor) -> bool:
    """Whether two tensors are equal bit for bit, the sign of a zero included."""
    return digest(left) == digest(right)
