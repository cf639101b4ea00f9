"""What a Slurm job asks for: read from a TOML file and from options, checked before anything is submitted."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError

from bnbench.errors import UserError, cut, few, nearest
from bnbench.execution.options import BOUNDS
from bnbench.toml_file import read_toml

_NUMBER = "[0-9]{1,15}"
_TIME = re.compile(
    f"(?:(?P<days>{_NUMBER})-)?(?P<first>{_NUMBER})(?::(?P<second>{_NUMBER}))?(?::(?P<third>{_NUMBER}))?"
)
_MEMORY = re.compile(f"(?P<number>{_NUMBER})(?P<unit>[KMGT]?)")
_UNITS = {"K": 2**10, "": 2**20, "M": 2**20, "G": 2**30, "T": 2**40}
_OPTION = re.compile(r"[a-z][a-z0-9-]*")

_OUR_OWN = {
    "array": "a sweep is split by `runs-per-job` and held back by `jobs-at-once`",
    "error": "logs go to the results folder",
    "export": "a job needs the environment it was submitted from",
    "job-name": "`bnbench status` finds the jobs by it",
    "nodes": "a run never spans nodes; more jobs do",
    "no-requeue": "a job that reached its limit goes back into the queue",
    "ntasks": "a job is one task that starts its runs itself",
    "ntasks-per-node": "a job is one task that starts its runs itself",
    "open-mode": "a job that was requeued goes on writing the same log",
    "output": "logs go to the results folder",
    "requeue": "every job is submitted with it",
    "signal": "its seconds are `warning-seconds`",
    "wrap": "the job's command is bnbench's",
}
"""Parameters of sbatch that cannot be given, and why."""

_NAMED = {
    "account": "account",
    "constraint": "constraint",
    "cpus-per-task": "cpus",
    "gpus": "gpus",
    "gpus-per-node": "gpus",
    "mem": "memory",
    "partition": "partition",
    "qos": "qos",
    "time": "time",
}
"""Parameters of sbatch that have a name here."""

_YEAR = 366 * 24 * 60
LARGEST_MEMORY = 2**50
"""Bytes of a job; as with every number of a job, more than any machine has a use for is a slip."""

_OUT_OF_BOUNDS = "out_of_bounds"


def minutes_of(time: int | str) -> int:
    """A time limit in whole minutes, rounded up, from minutes or any of Slurm's own spellings.

    Slurm reads `90`, `90:00`, `1:30:00`, `1-12`, `1-12:30` and `1-12:30:00` (minutes, minutes:seconds,
    hours:minutes:seconds, days-hours, …). An integer is what jobs are submitted with.

    Raises:
        ValueError: it is none of these, or no time at all.
    """
    match = _TIME.fullmatch(str(time))
    if match is None:
        raise ValueError(
            f"'{cut(str(time))}' is no time limit; for example 90 (minutes), 12:00:00 or 2-12 (days-hours)"
        )
    days, first, second, third = (int(match[name] or 0) for name in ("days", "first", "second", "third"))
    if match["days"] is not None:
        seconds = ((days * 24 + first) * 60 + second) * 60 + third
    elif match["third"] is not None:
        seconds = (first * 60 + second) * 60 + third
    else:
        seconds = first * 60 + second
    if seconds == 0:
        raise ValueError("a time limit of nothing")
    return -(-seconds // 60)


def _time(value: object) -> object:
    return minutes_of(value) if isinstance(value, str) else value


def _memory(value: object) -> object:
    text = f"{value}G" if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str):
        return text
    match = _MEMORY.fullmatch(text)
    amount = int(match["number"]) * _UNITS[match["unit"]] if match else 0
    if not 0 < amount <= LARGEST_MEMORY:
        largest = LARGEST_MEMORY // _UNITS["T"]
        raise ValueError(f"'{cut(text)}' is no amount of memory up to {largest}T; for example 16 (GB), 16G or 4000M")
    return text


def _whole(bounds: tuple[int, int], unit: str = "") -> BeforeValidator:
    """A whole number within bounds: one message, whatever else it is."""
    least, most = bounds

    def check(value: object) -> object:
        if type(value) is not int or not least <= value <= most:
            raise PydanticCustomError(_OUT_OF_BOUNDS, f"a whole number{unit} from {least} to {most:,} is needed")
        return value

    return BeforeValidator(check)


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _one_line(value: str) -> str:
    if not value or not value.isprintable():
        raise ValueError("expected a text of one line")
    return value


def _sbatch(parameters: dict[str, str | int | bool]) -> dict[str, str | int | bool]:
    for name, value in parameters.items():
        if not _OPTION.fullmatch(name):
            raise ValueError(f"'{name}' is not how sbatch spells an option; for example mail-type")
        if name in _NAMED:
            raise ValueError(f"'{name}' is called '{_NAMED[name]}' here, without 'sbatch.'")
        if name in _OUR_OWN:
            raise ValueError(f"'{name}' cannot be given: {_OUR_OWN[name]}")
        if value is False:
            raise ValueError(f"'{name}' = false: leave an option that is not wanted out")
        if isinstance(value, str):
            _one_line(value)
    return parameters


def _text(value: object) -> object:
    # An account may be called 12345, and nobody should have to quote it.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Text = Annotated[str, BeforeValidator(_text), AfterValidator(_one_line)]


class JobSettings(BaseModel):
    """What each job of a sweep asks Slurm for, and how runs share it. Keys are spelled with dashes, as Slurm does."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        alias_generator=lambda name: name.replace("_", "-"),
    )

    partition: Text | None = None
    account: Text | None = None
    qos: Text | None = None
    constraint: Text | None = None
    time: Annotated[int, _whole((1, _YEAR), " of minutes"), BeforeValidator(_time)] = 60
    """Time limit of a job in minutes. It is no limit of a run: a job that reaches it is requeued, and goes on."""
    memory: Annotated[str, BeforeValidator(_memory)] | None = None
    """Of a job, in Slurm's spelling; a whole number is GB."""
    cpus: Annotated[int, _whole(BOUNDS["threads"])] | None = None
    """Of a job; enough for its runs if None. Without GPUs as many runs go side by side as their threads fit into it."""
    gpus: Annotated[int, _whole((0, 128))] = 0
    """Of a job, all on one node."""
    runs_per_gpu: Annotated[int, _whole(BOUNDS["runs_per_gpu"])] = 1
    runs_per_job: Annotated[int, _whole((1, 100_000))] | None = None
    """Runs of one element of the array; as many as go side by side if None, more where the array would be too long."""
    jobs_at_once: Annotated[int, _whole((1, 100_000))] = 256
    """How many elements of the array Slurm may start at the same time."""
    warning_seconds: Annotated[int, _whole((1, 65_535))] = 120
    """How long before its time limit a job is told to put its runs on disk and to queue again."""
    setup: Annotated[tuple[Text, ...], BeforeValidator(_tuple)] = ()
    """Shell commands of the job before its runs start, e.g. "module load cuda"."""
    sbatch: Annotated[dict[str, str | int | bool], AfterValidator(_sbatch)] = {}
    """Any other parameter of sbatch by its long name, e.g. {"mail-type": "FAIL", "exclusive": True}."""

    def side_by_side(self, threads: int) -> int:
        """How many runs of a job go side by side.

        Args:
            threads: CPU threads of a run.

        Raises:
            UserError: not one run's threads fit into a job.
        """
        cpus = self.cpus_of_job(threads)
        if cpus < threads:
            raise UserError(f"a run of {threads} threads does not fit into a job of {cpus} CPUs (--slurm cpus)")
        return self.gpus * self.runs_per_gpu if self.gpus else cpus // threads

    def cpus_of_job(self, threads: int) -> int:
        """CPUs to ask for: those named, or as many as the threads of the runs that go side by side.

        Args:
            threads: CPU threads of a run.
        """
        return threads * max(1, self.gpus * self.runs_per_gpu) if self.cpus is None else self.cpus


def read_settings(file: Path | None, options: Sequence[str]) -> JobSettings:
    """The settings of a TOML file with options laid over them.

    Args:
        file: TOML with the keys of `JobSettings`; none if None.
        options: KEY=VALUE each; `sbatch.NAME=VALUE` for any other parameter of sbatch.

    Raises:
        UserError: the file cannot be read or is no TOML; a key is unknown, a value impossible.
    """
    raw = {} if file is None else read_toml(file)
    if file is not None:
        _validated(str(file), raw)
    for option in options:
        _lay_over(raw, option)
    return _validated("--slurm" if file is None else f"{file} with --slurm", raw)


def _lay_over(raw: dict[str, Any], option: str) -> None:
    key, equals, value = option.partition("=")
    key, value = key.strip(), value.strip()
    if not equals or not key or not value:
        raise UserError(f"--slurm {option}: expected KEY=VALUE", hint="For example --slurm time=12:00:00.")
    table, dot, name = key.partition(".")
    if dot and table != "sbatch":
        raise UserError(f"--slurm {option}: unknown key '{key}'.", hint=_hint())
    if dot:
        inner = raw.get("sbatch", {})
        # What is no table is refused later, with everything else.
        raw["sbatch"] = {**inner, name: _value(value)} if isinstance(inner, dict) else inner
    elif key == "setup":
        raw[key] = [*raw.get(key, []), value]
    else:
        raw[key] = _value(value)


def _value(text: str) -> object:
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # no TOML, or a number of thousands of digits, or a deep nest
        return text
    # Of all that TOML knows only these are meant: 12:00:00, unquoted, is a time limit and no time of the day.
    return value if isinstance(value, bool | int | str) else text


def _validated(where: str, raw: Mapping[str, Any]) -> JobSettings:
    try:
        return JobSettings.model_validate(raw)
    except ValidationError as error:
        raise UserError(few(error.errors(), lambda detail: _explain(where, detail)), hint=_hint()) from error


def _explain(where: str, detail: Any) -> str:  # noqa: ANN401 -- pydantic's ErrorDetails, a TypedDict of its own
    location = [str(part) for part in detail["loc"]]
    if detail["type"] == "extra_forbidden":
        guess = _NAMED.get(location[0]) or nearest(location[0], _keys())
        meant = f" Did you mean '{guess}'?" if guess else ""
        return f"{where}: unknown key '{cut(location[0])}'.{meant}"
    key = cut(".".join(part for part in location[:2] if part not in {"str", "int", "bool"}))
    if detail["type"] == _OUT_OF_BOUNDS:
        return f"{where}: {key} = {cut(repr(detail['input']))}: {detail['msg']}"
    return f"{where}: {key}: {detail['msg'].removeprefix('Value error, ')}"


def _keys() -> list[str]:
    return [str(field.alias) for field in JobSettings.model_fields.values()]


def _hint() -> str:
    return f"Known keys: {', '.join(_keys())}; any other parameter of sbatch is sbatch.NAME=VALUE."
