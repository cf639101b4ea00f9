"""Executes the cells of docs/tour.ipynb in one namespace, as a notebook would; needs no notebook packages.

python tests/support/notebook.py            # executes them
python tests/support/notebook.py --write    # and keeps what they show in the notebook
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TOUR = Path(__file__).parents[2] / "docs" / "tour.ipynb"


def read(path: Path = TOUR) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def execute(notebook: dict[str, Any]) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Every cell of code with the outputs that it has now, in nbformat's form; in the current folder."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate((each for each in notebook["cells"] if each["cell_type"] == "code"), start=1):
        parsed = ast.parse("".join(cell["source"]))
        last = parsed.body.pop() if parsed.body and isinstance(parsed.body[-1], ast.Expr) else None
        streams = {"stdout": io.StringIO(), "stderr": io.StringIO()}
        with contextlib.redirect_stdout(streams["stdout"]), contextlib.redirect_stderr(streams["stderr"]):
            exec(compile(parsed, f"<cell {number}>", "exec"), namespace)
            value = None
            if isinstance(last, ast.Expr):
                value = eval(compile(ast.Expression(last.value), f"<cell {number}>", "eval"), namespace)
        outputs: list[dict[str, Any]] = [
            {"output_type": "stream", "name": name, "text": stream.getvalue().splitlines(keepends=True)}
            for name, stream in streams.items()
            if stream.getvalue()
        ]
        if value is not None:
            outputs.append(
                {"output_type": "execute_result", "execution_count": number, "metadata": {}, "data": shown(value)}
            )
        yield cell, outputs


def shown(value: object) -> dict[str, Any]:
    """A value as a notebook shows it: by the first methods that Jupyter asks for."""
    data: dict[str, Any] = {"text/plain": repr(value).splitlines(keepends=True)}
    if (png := getattr(value, "_repr_png_", None)) is not None:
        data["image/png"] = base64.b64encode(png()).decode()
    if (html := getattr(value, "_repr_html_", None)) is not None and (text := html()) is not None:
        data["text/html"] = text.splitlines(keepends=True)
    return data


def main() -> None:
    notebook = read()
    with tempfile.TemporaryDirectory() as folder:
        here = Path.cwd()
        os.chdir(folder)
        try:
            for number, (cell, outputs) in enumerate(execute(notebook), start=1):
                cell.update(execution_count=number, outputs=outputs)
        finally:
            os.chdir(here)
    if "--write" in sys.argv[1:]:
        text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
        TOUR.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
