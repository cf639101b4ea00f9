"""Throughput as ratios: five interleaved repetitions of every contestant, the median of the five ratios.

No time is asserted. A table at the end says what is wanted and what was measured; `--benchmark-json FILE` keeps it.
On a CPU the contestants take turns every five steps, so that whatever else the machine does slows all of them alike.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.contestants import BareLoop, Bout, PlainLoop, WholePipeline
from bnbench.execution.devices import describe_device
from bnbench.plan import PRECISIONS, Precision
from bnbench.storage.recorder import RunRecorder
from bnbench.training.buffers import SnapshotBuffer
from bnbench.training.evaluation import EVALUATION_BATCH, evaluate
from bnbench.training.memory import keep_freed_memory
from bnbench.training.numerics import numerics

REPETITIONS = 5
TRAINED = 40_000
"""Images of an epoch of the studied problems …"""
EVALUATED = 30_000
"""… and images evaluated after it: `train_eval`, `valid` and `test`."""
SNAPSHOTS = 63
"""Snapshots of an epoch: 312 steps, one in five."""
INTERVAL = 5

TITLES = {"3c3d": "3C3D", "allcnnc": "ALL-CNN-C"}


def choose_bout(architecture: str, device: torch.device) -> Bout:
    """How much work: what takes a CPU a minute or two, and what is enough to time on a GPU."""
    if architecture == "3c3d":
        size = (5_000, 1_000) if device.type == "cpu" else (20_480, 10_000)
        return Bout("cifar10_3c3d", 128, *size, device)
    if device.type == "cpu":
        # A small batch and few steps: a step of the problem's own batch of 256 takes seconds.
        return Bout("cifar100_allcnnc", 32, 320, 125, device)
    return Bout("cifar100_allcnnc", 256, 20_480, 10_000, device)


class Contest:
    """Everybody who runs, and what each repetition took."""

    def __init__(self, bout: Bout, store: Path) -> None:
        self.bout = bout
        self.precisions = tuple(p for p in PRECISIONS if p != "tf32" or bout.device.type == "cuda")
        self.seconds: dict[str, list[float]] = defaultdict(list)
        """Per repetition and training step, evaluated image, or snapshot."""
        self.pipelines = {p: WholePipeline(bout, p, store, REPETITIONS) for p in self.precisions}
        self.bare = {p: BareLoop(bout, p) for p in self.precisions}
        self.plain = {
            "plain": PlainLoop(bout, keep_memory=False),
            "plain kept": PlainLoop(bout, keep_memory=True),
        }
        self._spare = RunRecorder.open(store / "snapshots", bout.spec("fp32", 1).identity)
        self._warm_up(store)

    def repeat(self) -> None:
        """One repetition: an epoch of training for everybody, in turns; some evaluation; an epoch's snapshots."""
        took: dict[str, float] = defaultdict(float)
        steps, over = 0, False
        while not over:
            done = set()
            for precision, pipeline in self.pipelines.items():
                with self._arithmetic(precision), self._timed(took, f"pipeline {precision}"):
                    progress = pipeline.advance()
                took[f"pipeline {precision}"] -= progress.evaluation_s
                done.add((progress.steps, progress.epoch_over))
            ((turn, over),) = done
            for precision, bare in self.bare.items():
                with self._arithmetic(precision), self._timed(took, f"bare {precision}"):
                    bare.advance(turn)
            for name, plain in self.plain.items():
                took[name] += plain.advance(turn)
            steps += turn
        assert steps == self.bout.images // self.bout.batch_size
        for name, seconds in took.items():
            self.seconds[name].append(seconds / steps)
        self._evaluate()
        self._snapshots()

    def close(self) -> None:
        """End the plain loops' processes."""
        for plain in self.plain.values():
            plain.close()

    def ratios(self, faster: str, slower: str) -> list[float]:
        """How many times as fast one contestant was as another, by repetition."""
        return [slow / fast for fast, slow in zip(self.seconds[faster], self.seconds[slower], strict=True)]

    def _evaluate(self) -> None:
        trainer = self.pipelines["fp32"].trainer
        with self._arithmetic("fp32"), self._timed(took := defaultdict(float), "evaluation"):
            batches = self._evaluated.evaluation_batches("test", EVALUATION_BATCH)
            evaluate(trainer.network, batches, "fp32")
        self.seconds["evaluation"].append(took["evaluation"] / self.bout.evaluated)

    def _snapshots(self) -> None:
        """Take, read back, record and write an epoch's snapshots, without training in between."""
        vectors = self.pipelines["fp32"].trainer.network.affine_vectors()
        with self._timed(took := defaultdict(float), "snapshot"):
            buffer = SnapshotBuffer(vectors, SNAPSHOTS)
            for step in range(SNAPSHOTS):
                buffer.take(INTERVAL * step)
            for event in buffer.rows():
                self._spare.add(event.table, event.columns)
            self._spare.flush()
        self.seconds["snapshot"].append(took["snapshot"] / SNAPSHOTS)

    def _warm_up(self, store: Path) -> None:
        """First steps cost more: kernels are chosen, memory is fetched."""
        images = 2 * self.bout.batch_size
        for precision in self.precisions:
            with self._arithmetic(precision):
                first = WholePipeline(self.bout, precision, store, 1, images)
                for _ in iter(lambda first=first: first.advance().epoch_over and first.trainer.step > 0, True):
                    pass
                self.bare[precision].advance(1)
                self.pipelines[precision].advance()  # the evaluation before the first step
        for plain in self.plain.values():
            plain.advance(1)
        spec = self.bout.spec("fp32", 1)
        self._evaluated = self.bout.pipeline(spec, self.bout.batch_size, self.bout.evaluated)
        self._evaluate()
        self._snapshots()
        self.seconds.clear()

    def _arithmetic(self, precision: Precision) -> AbstractContextManager[None]:
        return numerics(precision, self.bout.device, threads=1)

    @contextmanager
    def _timed(self, took: dict[str, float], name: str) -> Iterator[None]:
        self.bout.synchronise()
        began = time.perf_counter()
        yield
        self.bout.synchronise()
        took[name] += time.perf_counter() - began


@pytest.mark.parametrize("architecture", ["3c3d", "allcnnc"])
def test_throughput(
    benchmark: BenchmarkFixture, lines: list[str], tmp_path: Path, device: torch.device, architecture: str
) -> None:
    keep_freed_memory()  # as a run does
    contest = Contest(choose_bout(architecture, device), tmp_path)
    with closing(contest):
        benchmark.pedantic(contest.repeat, rounds=REPETITIONS, iterations=1)
    lines.extend(table(contest, architecture))
    benchmark.extra_info["seconds"] = dict(contest.seconds)
    benchmark.extra_info["pipeline_over_bare"] = contest.ratios("pipeline fp32", "bare fp32")
    benchmark.extra_info["pipeline_over_plain"] = contest.ratios("pipeline fp32", "plain")
    assert all(len(each) == REPETITIONS for each in contest.seconds.values())


def table(contest: Contest, architecture: str) -> Iterator[str]:
    """What was measured, and what is wanted where something is."""
    bout = contest.bout
    wanted = architecture == "3c3d" and bout.device.type == "cpu"
    names = {f"pipeline {p}": f"whole pipeline, {p}" for p in contest.precisions}
    names |= {f"bare {p}": f"bare loop, {p}" for p in contest.precisions}
    names |= {"plain": "plain loop", "plain kept": "plain loop that keeps its memory"}
    yield ""
    yield (
        f"{TITLES[architecture]}, BN_γ,β hidden, batch {bout.batch_size}, {describe_device(bout.device)}, "
        f"one CPU thread, torch {torch.__version__}"
    )
    yield f"  {'':<52}{'ms a step':>10}{'samples/s':>10}"
    for key, name in names.items():
        step = statistics.median(contest.seconds[key])
        yield f"  {name:<52}{1e3 * step:>10.2f}{bout.batch_size / step:>10.0f}"
    yield f"  {'throughput, as a ratio':<52}{'median':>10}{'lowest':>10}{'highest':>10}  wanted"
    pairs = [(f"pipeline {p}", f"bare {p}", "≥ 0.95" if p == "fp32" else "") for p in contest.precisions]
    pairs += [("pipeline fp32", "plain", "≥ 2"), ("pipeline fp32", "plain kept", "")]
    pairs += [(f"{kind} {p}", f"{kind} fp32", "") for p in contest.precisions[1:] for kind in ("bare", "pipeline")]
    for fast, slow, least in pairs:
        ratios = contest.ratios(fast, slow)
        name = f"{names[fast]} / {names[slow]}"
        spread = f"{statistics.median(ratios):>10.3f}{min(ratios):>10.3f}{max(ratios):>10.3f}"
        yield f"  {name:<52}{spread}  {least if wanted else ''}".rstrip()
    step = statistics.median(contest.seconds["pipeline fp32"])
    snapshot = statistics.median(contest.seconds["snapshot"])
    share = 100 * snapshot / INTERVAL / step
    yield (
        f"  a snapshot, recorded: {1e3 * snapshot:.3f} ms; one every {INTERVAL} steps: {share:.3f} % of a step"
        "  (wanted: ≤ 1 %)"
    )
    steps = TRAINED // bout.batch_size
    evaluation = EVALUATED * statistics.median(contest.seconds["evaluation"])
    yield (
        f"  an epoch of {steps} steps: {steps * step:.1f} s; the evaluation of {EVALUATED:,} images beside it: "
        f"{evaluation:.1f} s ({100 * evaluation / (evaluation + steps * step):.0f} % of both)"
    )
