"""Test problems as data: the strict model of a problem file, and the catalogue of the files that ship.

settings.py    how a problem is trained, evaluated, recorded and probed
target.py      levels that training should reach, and their sources
model.py       a problem at one size
coherence.py   what the types cannot say
wording.py     what a mistake in a file is called
overrides.py   what `--set` may change
file.py        a file, at every size it has
catalogue.py   the problems that ship, and any by name, pattern or path
"""

from bnbench.problem.catalogue import find_problem, find_problems, problem_files
from bnbench.problem.coherence import check_training
from bnbench.problem.file import ProblemFile, read_problem
from bnbench.problem.model import OVERLAYS, Problem, Size
from bnbench.problem.overrides import SETTABLE, parse_override, settable_keys
from bnbench.problem.settings import (
    LARGEST_RATE,
    Augmentation,
    Evaluation,
    Probes,
    Seed,
    Snapshots,
    Training,
)
from bnbench.problem.target import DeepOBSSource, Metric, RunsSource, Source, Target

__all__ = [
    "LARGEST_RATE",
    "OVERLAYS",
    "SETTABLE",
    "Augmentation",
    "DeepOBSSource",
    "Evaluation",
    "Metric",
    "Probes",
    "Problem",
    "ProblemFile",
    "RunsSource",
    "Seed",
    "Size",
    "Snapshots",
    "Source",
    "Target",
    "Training",
    "check_training",
    "find_problem",
    "find_problems",
    "parse_override",
    "problem_files",
    "read_problem",
    "settable_keys",
]
