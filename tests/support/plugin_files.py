"""Plug-in files that tests write, and a process that forgets them."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from bnbench import plugins

NORMALISER = """
from bnbench.components.normalisers import Normaliser
from bnbench.components.variants import Affine, AffineRule, Variant


def build(site, options):
    import torch
    from torch import nn

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            {start}

        def forward(self, x):
            {body}

    return Own()


own = Normaliser("own", "own", "a test's", "this test", f"{{__name__}}:build"{more})
own_gamma_beta = Variant("own_gamma_beta", "OWN_γ,β", "own; γ and β learned", "own",
                         AffineRule(Affine.LEARNED, 1.0), AffineRule(Affine.LEARNED, 0.0))
"""


def normaliser(body: str = "return x * 0.5", start: str = "pass", more: str = "") -> str:
    """The source of a file with a normaliser `own` and a variant `own_gamma_beta`; what its forward pass does."""
    indented = textwrap.indent(body, " " * 12).strip()
    return NORMALISER.format(body=indented, start=textwrap.indent(start, " " * 12).strip(), more=more)


def write(folder: Path, source: str, name: str = "mine.py") -> Path:
    """A file of that source."""
    path = folder / name
    path.write_text(textwrap.dedent(source), encoding="utf-8")
    return path


@pytest.fixture
def forgetting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is loaded within the test is forgotten after it."""
    monkeypatch.setattr(plugins, "_loaded", {})
    yield
    for name in [each for each in sys.modules if each.startswith("bnbench_plugin_")]:
        del sys.modules[name]
