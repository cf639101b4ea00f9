"""Data and code inside the page: compressed, and in a form that no content can break out of."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import zlib
from importlib.resources import files

from markupsafe import Markup

from bnbench.errors import UserError

DIGITS = 6
"""Significant digits of embedded numbers: far more than a screen can show."""

_LEVEL = 9


def data_block(name: str, value: object, level: int = _LEVEL) -> Markup:
    """A value as compressed JSON in a block that browsers do not run; the page unpacks it when it is looked at.

    Base64 knows neither `<` nor quotes, so nothing in the value can end the block.

    Args:
        name: the element's id.
        value: plain JSON values, without NaN and infinities.
        level: of the compression, 0 to 9.
    """
    plain = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    packed = base64.b64encode(zlib.compress(plain.encode(), level)).decode()
    return Markup('<script type="application/json+deflate" id="{}">{}</script>').format(name, packed)


def rounded(value: float) -> float | None:
    """A number to six significant digits; None where it is not finite, which JSON does not know."""
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def script_hash(script: str) -> str:
    """The source expression by which a content security policy lets exactly this inline script run."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def page_file(name: str) -> Markup:
    """A file of the page's own, style or script; it comes with the package, and stands in the page as it is."""
    return Markup((files(__package__) / name).read_text(encoding="utf-8"))


def plotly_script() -> Markup:
    """plotly.js as the installed plotly package carries it.

    Raises:
        UserError: plotly is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs  # noqa: PLC0415 -- an extra: only the report needs it
    except ModuleNotFoundError as error:
        raise UserError(
            "the report's curves are drawn by plotly, which is not installed",
            hint="Install it with: pip install 'bnbench[report]'",
        ) from error
    script: str = get_plotlyjs()
    return inline_script(script)


def inline_script(script: str) -> Markup:
    """A script that can stand inside a script element: in JavaScript these spellings mean the same."""
    return Markup(script.replace("</script", "<\\/script").replace("<!--", "<\\!--").replace("\r\n", "\n"))
