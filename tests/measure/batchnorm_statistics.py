"""How far the statistics that BatchNorm takes of a batch on the CPU are from the same in float64, slot by slot.

A batch goes through the network as a run begins with it. What each BatchNorm gets is normalised once more by PyTorch's
own kernel, in both memory formats and with so many threads, and the mean and the variance that it found are compared
with those of the same float32 numbers added up in float64. Printed are, of the variance, the mean over the channels of
the relative error with its sign, and the largest; of the mean, the largest error in standard deviations.

    python tests/measure/batchnorm_statistics.py cifar10_3c3d cifar100_allcnnc

Runs train in the format channels_last (`bnbench.training.loop`) with one thread unless told otherwise.
"""

from __future__ import annotations

import click
import torch
from torch import Tensor, nn
from torch.nn import functional

from bnbench import api

FORMATS = {"channels_last": torch.channels_last, "NCHW": torch.contiguous_format}


def inputs_of_batchnorm(problem: str) -> dict[str, Tensor]:
    """What each BatchNorm of a network gets in its first step, by slot: float32 (images, channels, height, width)."""
    network = api.build_network(problem, "bn_gamma_beta", placement="every").to(memory_format=torch.channels_last)
    images, _ = next(api.batches(problem))
    found: dict[str, Tensor] = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):

            def keep(_: nn.Module, given: tuple[Tensor], name: str = name) -> None:
                found[name.rpartition(".")[0].rpartition(".")[2]] = given[0].detach()

            module.register_forward_pre_hook(keep)
    with torch.no_grad():
        network(images.contiguous(memory_format=torch.channels_last))
    return found


def errors(values: Tensor) -> tuple[float, float, float]:
    """Mean and largest relative error of the batch's variance, and largest error of its mean in standard deviations."""
    mean, variance = torch.zeros(values.shape[1]), torch.ones(values.shape[1])
    functional.batch_norm(values, mean, variance, training=True, momentum=1.0)
    exact = values.double().transpose(0, 1).flatten(1)
    relative = variance.double() / exact.var(dim=1, correction=1) - 1
    shift = (mean.double() - exact.mean(dim=1)).abs() / exact.std(dim=1)
    return float(relative.mean()), float(relative.abs().max()), float(shift.max())


@click.command()
@click.argument("problems", nargs=-1, required=True)
@click.option("--threads", multiple=True, type=int, default=(1, 2), show_default=True)
def main(problems: tuple[str, ...], threads: tuple[int, ...]) -> None:
    """Print a line for each slot, memory format and number of threads."""
    for problem in problems:
        torch.set_num_threads(1)
        for slot, values in inputs_of_batchnorm(problem).items():
            click.echo(f"{problem} {slot}: {' × '.join(map(str, values.shape))}")
            for number in threads:
                torch.set_num_threads(number)
                for name, memory_format in FORMATS.items():
                    given = values.contiguous(memory_format=memory_format) if values.dim() == 4 else values
                    mean, largest, shift = errors(given)
                    click.echo(
                        f"  {number} threads, {name:13}: variance {mean:+.1e} (largest {largest:.1e}), mean {shift:.1e}"
                    )


if __name__ == "__main__":
    main()
