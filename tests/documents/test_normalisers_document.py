"""docs/normalisers.md: its tables are the registries', and its example does what it says."""

from __future__ import annotations

import re
import subprocess
import sys

from support.component_document import DOCUMENT, renewed


def test_the_tables_are_those_of_the_registries():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert renewed(text) == text, "renew it: python tests/support/component_document.py"
    blocks = re.findall(r"^<!-- rows of \w+ -->\n(.*?)^<!-- end -->", text, re.MULTILINE | re.DOTALL)
    for block in blocks:
        assert len({len(re.split(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1, "as many cells in each row"
    assert re.findall(r"<!-- rows of (\w+) -->", text) == ["normalisers", "reparametrisations", "options", "variants"]


def test_a_normaliser_of_ones_own_trains_and_is_ranked(tmp_path):
    module, script = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), flags=re.DOTALL)
    (tmp_path / "my_norm.py").write_text(module, encoding="utf-8")
    (tmp_path / "script.py").write_text(script, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in ("bn_gamma_beta", "rms", "rms_gamma_beta"))
    assert len(list((tmp_path / "my_results").glob("digits_mlp-rms*/run.json"))) == 2
