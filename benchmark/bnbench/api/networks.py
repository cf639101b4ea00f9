"""The network and the batches that a run begins with, to look at and to work with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from bnbench.api.catalogue import load_problem
from bnbench.api.rows import fair
from bnbench.components.variants import VARIANTS, Variant
from bnbench.errors import UserError, unknown
from bnbench.execution.selection import check_seeds, identify, require_data
from bnbench.plan import RunSpec, expand_grid
from bnbench.problem import Problem

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Split = Literal["train", "train_eval", "valid", "test"]


def build_network(
    problem: str | Problem, variant: str | Variant, placement: str | None = None, seed: int | None = None
) -> torch.nn.Module:
    """The network that a run begins with: an ordinary module, its weights drawn as a run draws them.

    Args:
        problem: a name (at full size), or what `load_problem` gave.
        variant: a name, or a row.
        placement: where the normaliser goes, such as "hidden" or "first:2"; None is the problem's own.
        seed: of the weights; None is the problem's first.

    Returns:
        A module that maps float32 images (batch, channels, height, width) to logits (batch, classes), in training mode
        and on the CPU. Without a second argument dropout is left out.

    Raises:
        UserError: something of it does not exist or does not fit.
    """
    from bnbench.execution.in_process import as_in_a_process_of_its_own  # noqa: PLC0415 -- torch
    from bnbench.training.loop import initial_network  # noqa: PLC0415

    spec = _spec(problem, variant, placement, seed)
    with as_in_a_process_of_its_own():
        return initial_network(spec).train()


def batches(
    problem: str | Problem, split: Split = "train", seed: int | None = None, epoch: int = 1
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches that a run gets, in its order.

    Args:
        problem: a name (at full size), or what `load_problem` gave.
        split: "train", shuffled and augmented anew each epoch; or "train_eval", "valid", "test": whole, in their own
            order, not augmented.
        seed: of the run; None is the problem's first. Only "train" depends on it.
        epoch: from 1. Only "train" depends on it.

    Yields:
        Images, float32 (batch, channels, height, width), standardised, on the CPU; labels, int64 (batch,).

    Raises:
        UserError: there is no such problem or split, or the data are not on this machine.
    """
    splits = ("train", "train_eval", "valid", "test")
    if split not in splits:
        raise unknown("split", split, splits)
    if isinstance(epoch, bool) or not isinstance(epoch, int) or epoch < 1:
        raise UserError(f"epoch = {epoch!r}: a whole number from 1 on is needed")
    spec = _spec(problem, "vanilla", None, seed)
    require_data([spec])
    return _batches(spec, split, epoch)


def _batches(spec: RunSpec, split: Split, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    import torch  # noqa: PLC0415

    from bnbench.execution.in_process import as_in_a_process_of_its_own  # noqa: PLC0415
    from bnbench.execution.pipeline import load_pipeline  # noqa: PLC0415
    from bnbench.training.evaluation import EVALUATION_BATCH  # noqa: PLC0415
    from bnbench.training.loop import draw_epoch  # noqa: PLC0415

    device = torch.device("cpu")
    with as_in_a_process_of_its_own():
        pipeline = load_pipeline(spec, device)
        order, parameters = draw_epoch(spec, pipeline.train_size, epoch, device)
    if split != "train":
        yield from pipeline.evaluation_batches(split, EVALUATION_BATCH)
        return
    yield from pipeline.training_batches(order, parameters, spec.training.batch_size)


def _spec(problem: str | Problem, variant: str | Variant, placement: str | None, seed: int | None) -> RunSpec:
    found = load_problem(problem) if isinstance(problem, str) else problem
    row = VARIANTS.get(variant) if isinstance(variant, str) else fair(variant)
    placements = () if placement is None else (placement,)
    seeds = found.seeds[:1] if seed is None else (seed,)
    check_seeds(seeds)
    (spec,) = expand_grid(found, identify(found), [row], placements=placements, seeds=seeds)
    return spec
