"""The words that go with a figure: its file name, its command, what its caption says of the runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from string import ascii_lowercase

from bnbench.analysis.comparison import Comparison
from bnbench.report.page import Page
from bnbench.report.titles import comparison_title, described_runs

ALPHANUMERIC = re.compile(r"[a-z0-9:]+")


def file_name(kind: str, groups: Sequence[Comparison], number: int | None = None) -> str:
    """A drawing's file name: what is in it, as far as its groups agree."""
    parts = [kind, *_agreed(groups)]
    return "-".join(parts).replace(":", "") + ("" if number is None else f"-{number}")


def kind_command(kind: str, groups: Sequence[Comparison], page: Page, seed: int | None = None) -> str:
    """The command line that draws a figure by content again."""
    words = ["--kind", kind]
    for problem in dict.fromkeys(group.problem for group in groups):
        words += ["--problem", problem]
    sizes = {group.size for group in groups}
    words += [f"--size {size}" for size in sizes - {"full"}]
    placements = dict.fromkeys(group.placement for group in groups)
    words += [f"--placement {placement}" for placement in placements]
    if any(group.overrides for group in groups):
        words += [f"--setting {setting}" for setting in dict.fromkeys(g.setting_id.rpartition("-")[2] for g in groups)]
    words += [f"--lr-factor {factor:g}" for factor in dict.fromkeys(g.lr_factor for g in groups) if factor is not None]
    return plot_command(*words, page=page, seed=seed)


def plot_command(*words: str, page: Page, seed: int | None = None) -> str:
    """The command line that draws a figure again; folders and formats, which do not change it, are left out."""
    rest = ["--width", page.name] + ([] if seed is None else ["--seed", str(seed)])
    return " ".join(["bnbench plot", *words, *rest])


def described(groups: Sequence[Comparison], letters: Sequence[str]) -> str:
    """A sentence for each group: what it is, its seeds, its data, what diverged and what is missing."""
    return " ".join(
        f"{letter}{comparison_title(group)}: {described_runs(group)}."
        for group, letter in zip(groups, letters, strict=True)
    )


def _agreed(groups: Sequence[Comparison]) -> list[str]:
    """The words of a file name that all groups share: problem, size, setting, placement and learning rate."""
    first = groups[0]
    words = [first.problem] if len({group.problem for group in groups}) == 1 else []
    words += [first.size] if first.size != "full" else []
    if first.overrides and len({group.setting_id for group in groups}) == 1:
        words.append(first.setting_id.rpartition("-")[2][:6])
    if len({group.placement for group in groups}) == 1:
        words.append(first.placement if ALPHANUMERIC.fullmatch(first.placement) else first.mask)
    if len({group.learning_rate for group in groups}) == 1 and first.lr_factor != 1:
        words.append(f"lr{first.learning_rate:.3g}")
    return words


def joined(words: Iterable[str]) -> str:
    """Words as an enumeration: "a, b and c"."""
    *rest, last = words
    return f"{', '.join(rest)} and {last}" if rest else last


def lettered(items: Sequence[object]) -> list[str]:
    """(a), (b) … for several things, nothing for one; the 27th and on go without."""
    if len(items) < 2:
        return [""] * len(items)
    return [f"({ascii_lowercase[index]}) " if index < 26 else "" for index in range(len(items))]
