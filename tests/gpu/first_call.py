"""The first minutes on a GPU: does it compute what the CPU computes, the same twice, and how fast.

    python tests/gpu/first_call.py [--output FILE] [--steps 20]
    python tests/gpu/first_call.py --write-digests      # on a CPU: what a GPU is compared with

Each item prints one line of JSON, and a table comes last. Nothing but the package is needed: images are noise of the
shape of CIFAR's, keyed by seeds. Without a GPU it says so and ends with exit code 2.

Items:
    pairing      weights, order, crops and flips, dropout masks and evaluated batches, against digests committed from a
                 CPU; augmented batches, whose last digits may differ, against those of this machine's CPU
    determinism  steps of both networks under the five variants in each precision, twice: every byte equal
    graphs       the same one operation at a time and replayed, the parts of BatchNorm too: every byte equal
    extremes     BatchNorm of x·10^k and x + 10^k against float64, with cuDNN and without: the largest error
    speed        milliseconds a training step, by network and precision, one operation at a time and replayed
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import click
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

import bnbench
from bnbench.components.variants import STUDIED, VARIANTS
from bnbench.data.dataset import DATASETS
from bnbench.data.images import LabelledImages, Splits
from bnbench.data.pipeline import ImagePipeline
from bnbench.errors import UserError
from bnbench.plan import PRECISIONS, DataFacts, Precision, RunSpec, expand_grid
from bnbench.problem import Augmentation, find_problem
from bnbench.storage.provenance import source_commit
from bnbench.training.loop import draw_epoch, initial_network
from bnbench.training.numerics import numerics
from bnbench.training.optimiser import build_optimiser
from bnbench.training.seeding import StepDraws
from bnbench.training.update import GRAPHS_VARIABLE, update_of

PROBLEMS = ("cifar10_3c3d", "cifar100_allcnnc")
PARTS = (
    "bn_noisy", "bn_detached", "bn_mean_only", "bn_var_only", "bn_init_stats", "bn_running", "bn_l1", "bn_linf",
    "bn_ghost16", "affine", "gn_gamma_beta", "ln_gamma_beta",
)  # fmt: skip
LEFT_OUT = 10
"""Steps that are not timed: kernels are chosen, and the update recorded."""
IMAGES = 1024
SEED = 42
DIGESTS = Path(__file__).parent / "cpu_digests.json"

Item = dict[str, Any]


def spec_of(
    problem: str, variant: str = "bn_gamma_beta", precision: Precision = "fp32", momentum: float = 0.0
) -> RunSpec:
    """A run of a problem on made-up images."""
    chosen = find_problem(problem).problem()
    chosen = chosen.model_copy(update={"training": chosen.training.model_copy(update={"momentum": momentum})})
    row = DATASETS.get(chosen.dataset)
    facts = DataFacts(row.name, row.classes, row.channels, "0" * 64, "other copy")
    (spec,) = expand_grid(chosen, facts, [VARIANTS.get(variant)], seeds=[SEED], precision=precision)
    return spec


def pipeline_of(spec: RunSpec, device: torch.device, augmentation: Augmentation | None = None) -> ImagePipeline:
    """Noise of CIFAR's shape, the same on every machine."""
    random = np.random.default_rng(1)
    pixels = random.integers(0, 256, (IMAGES, 32, 32, 3), dtype=np.uint8)
    images = LabelledImages(pixels, random.integers(0, spec.data.classes, IMAGES))
    return ImagePipeline(
        Splits(images, images, images, images),
        dataset=DATASETS.get(spec.data.name),
        image_size=spec.input_shape[1],
        augmentation=augmentation or spec.augmentation,
        device=device,
    )


def first_batch(spec: RunSpec, data: ImagePipeline, device: torch.device) -> tuple[Tensor, Tensor]:
    """Images and labels of a run's first update."""
    order, parameters = draw_epoch(spec, data.train_size, 1, device)
    return data.training_batch(order[: spec.training.batch_size], parameters)


def digest(*tensors: Tensor) -> str:
    """Of values, shapes and order, wherever they lie and however."""
    found = hashlib.sha256()
    for tensor in tensors:
        values = tensor.detach().cpu().contiguous()
        found.update(str((tuple(values.shape), values.dtype)).encode() + values.numpy().tobytes())
    return found.hexdigest()[:16]


def pairing(device: torch.device) -> dict[str, str]:
    """What a run is fed, as digests: by problem and kind."""
    found = {}
    for problem in PROBLEMS:
        spec = spec_of(problem)
        own = spec.augmentation
        unjittered = Augmentation(crop_padding=own.crop_padding, horizontal_flip=own.horizontal_flip)
        network, data = initial_network(spec).to(device), pipeline_of(spec, device, unjittered)
        order, _ = draw_epoch(spec, data.train_size, 1, device)
        images, labels = first_batch(spec, data, device)
        plain, _ = next(data.evaluation_batches("train_eval", 125))
        mask = StepDraws(SEED, 7).dropout("dropout3", 0.5, torch.empty(8, 96, 16, 16, device=device))
        found |= {
            f"{problem} weights": digest(*network.parameters()),
            f"{problem} order": digest(order),
            f"{problem} labels": digest(labels),
            f"{problem} evaluation batch": digest((plain * 2**12).round()),
            f"{problem} crops and flips": digest((images * 2**12).round()),
            f"{problem} dropout mask": digest(mask),
        }
    return found


def steps(spec: RunSpec, device: torch.device, count: int) -> Iterator[tuple[Tensor, torch.nn.Module]]:
    """Training steps as a run makes them: the loss of each, and the network after it.

    Where the variable `GRAPHS_VARIABLE` is "0" one operation at a time, otherwise recorded and replayed.
    """
    network = initial_network(spec).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.train()
    update = update_of(spec, network, build_optimiser(network, spec.variant, spec.training), device)
    data = pipeline_of(spec, device)
    order, parameters = draw_epoch(spec, data.train_size, 1, device)
    epochs = (data.training_batches(order, parameters, spec.training.batch_size) for _ in itertools.count())
    for step, (images, labels) in enumerate(itertools.islice(itertools.chain.from_iterable(epochs), count)):
        loss, _ = update(images, labels, StepDraws(SEED, step))
        yield loss.clone(), network


def state_after(spec: RunSpec, device: torch.device, count: int) -> str:
    """A digest of every loss on the way, and of the network after it."""
    with numerics(spec.precision, device, 1):
        done = list(steps(spec, device, count))
        losses, (_, network) = [loss for loss, _ in done], done[-1]
        return digest(torch.stack(losses).float(), *(each.float() for each in network.state_dict().values()))


@contextmanager
def one_by_one() -> Iterator[None]:
    """Updates are told operation by operation."""
    with mock.patch.dict(os.environ, {GRAPHS_VARIABLE: "0"}):
        yield


def determinism(device: torch.device, precisions: tuple[Precision, ...], count: int) -> Iterator[Item]:
    """Each network, variant and precision twice, and once one operation at a time."""
    chosen = [(problem, name, precision, 0.0) for problem in PROBLEMS for precision in precisions for name in STUDIED]
    chosen += [(PROBLEMS[0], name, "fp32", 0.0) for name in PARTS]
    chosen += [(PROBLEMS[0], STUDIED[-1], "fp32", 0.9)]
    for problem, variant, precision, momentum in chosen:
        spec = spec_of(problem, variant, precision, momentum)
        told: Item = {"problem": problem, "variant": variant, "precision": precision, "momentum": momentum}
        try:
            once, again = (state_after(spec, device, count) for _ in range(2))
            yield {"item": "determinism", **told, "ok": once == again, "digest": once}
            with one_by_one():
                slowly = state_after(spec, device, count)
            yield {"item": "graphs", **told, "ok": once == slowly, "digest": slowly}
        except (RuntimeError, UserError) as error:  # no deterministic form; or not to be recorded
            for item in ("determinism", "graphs"):
                yield {"item": item, **told, "ok": False, "error": str(error).splitlines()[0]}


def augmented(device: torch.device) -> Iterator[Item]:
    """The largest difference of an augmented batch from that of this machine's CPU; values are about 1."""
    for problem in PROBLEMS:
        spec, cpu = spec_of(problem), torch.device("cpu")
        ours, _ = first_batch(spec, pipeline_of(spec, device), device)
        theirs, _ = first_batch(spec, pipeline_of(spec, cpu), cpu)
        error = float((ours.cpu() - theirs).abs().max())
        yield {"item": "pairing", "what": f"{problem} augmented batch", "ok": error <= 1e-5, "error": error}


def extremes(device: torch.device) -> Iterator[Item]:
    """BatchNorm's forward pass at large and at shifted inputs, channels last as in a run, against float64.

    With cuDNN and without: its one-pass kernel was said to overflow where the inputs are large and finite.
    """
    x = torch.randn(128, 64, 28, 28, generator=torch.Generator().manual_seed(0))  # the first slot of 3C3D
    gamma, beta = torch.ones(64, dtype=torch.float64), torch.zeros(64, dtype=torch.float64)
    for kind, change in (("scale", lambda k: x * 10.0**k), ("shift", lambda k: x + 10.0**k)):
        for k, own in itertools.product(range(0, 16, 3), (True, False)):
            values = change(k)
            exact = functional.batch_norm(values.double(), None, None, gamma, beta, training=True)
            with torch.backends.cudnn.flags(enabled=own, deterministic=True):  # type: ignore[no-untyped-call]
                there = values.to(device).contiguous(memory_format=torch.channels_last)
                affine = gamma.float().to(device), beta.float().to(device)  # without them cuDNN is not asked
                found = functional.batch_norm(there, None, None, *affine, training=True).cpu()
            error = float((found.double() - exact).abs().max())
            # A shift leaves fewer digits of x, whoever computes; a scale leaves them all.
            sound = error < 1e-4 if kind == "scale" else bool(np.isfinite(error))
            yield {"item": "extremes", "kind": kind, "k": k, "cudnn": own, "ok": sound,
                   "error": error if np.isfinite(error) else None}  # fmt: skip


def speed(device: torch.device, precisions: tuple[Precision, ...], count: int) -> Iterator[Item]:
    """Milliseconds a step, the first ones left out."""
    for problem, precision, graphs in itertools.product(PROBLEMS, precisions, (False, True)):
        spec = spec_of(problem, "bn_gamma_beta", precision)
        began = 0.0
        with numerics(precision, device, 1), nullcontext() if graphs else one_by_one():
            for number, _ in enumerate(steps(spec, device, count + LEFT_OUT)):
                if number + 1 == LEFT_OUT:
                    torch.cuda.synchronize(device)
                    began = time.perf_counter()
            torch.cuda.synchronize(device)
        yield {"item": "speed", "problem": problem, "precision": precision, "graphs": graphs, "ok": True,
               "ms": 1000 * (time.perf_counter() - began) / count}  # fmt: skip


def compared(found: dict[str, str], committed: dict[str, str]) -> Iterator[Item]:
    """The digests of a device beside those of a CPU."""
    for name, value in found.items():
        yield {"item": "pairing", "what": name, "ok": value == committed.get(name), "digest": value}


@click.command()
@click.option("--output", type=click.Path(path_type=Path), help="Append the lines of JSON to this file too.")
@click.option("--steps", "count", default=20, show_default=True, help="Training steps of each item.")
@click.option("--write-digests", is_flag=True, help="Write what a CPU is fed, and stop.")
def main(output: Path | None, count: int, write_digests: bool) -> None:
    """Run every item on the first GPU."""
    if write_digests:
        DIGESTS.write_text(json.dumps(pairing(torch.device("cpu")), indent=1) + "\n", encoding="utf-8")
        return
    if not torch.cuda.is_available():
        click.echo("Error: there is no CUDA device here; this script is for a machine that has one.", err=True)
        sys.exit(2)
    device = torch.device("cuda", 0)
    capable = torch.cuda.get_device_capability(device) >= (8, 0)
    precisions = PRECISIONS if capable else ("fp32",)
    facts = torch.cuda.get_device_properties(device)
    header: Item = {
        "device": facts.name, "multiprocessors": facts.multi_processor_count, "torch": torch.__version__,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call] # untyped in torch
        "source": source_commit(Path(bnbench.__file__).parent), "steps": count,
    }  # fmt: skip
    items: list[Callable[[], Iterator[Item]]] = [
        lambda: compared(pairing(device), json.loads(DIGESTS.read_text(encoding="utf-8"))),
        lambda: augmented(device),
        lambda: determinism(device, precisions, count),
        lambda: extremes(device),
        lambda: speed(device, precisions, 5 * count),
    ]
    told: list[Item] = []
    for line in itertools.chain([header], *(item() for item in items)):
        click.echo(json.dumps(line))
        if output is not None:
            with output.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        if "item" in line:
            told.append(line)
    for name in dict.fromkeys(each["item"] for each in told):
        own = [each for each in told if each["item"] == name]
        click.echo(f"{name:<12} {sum(each['ok'] for each in own)} of {len(own)} as they should be")
    sys.exit(0 if all(each["ok"] for each in told) else 1)


if __name__ == "__main__":
    main()
