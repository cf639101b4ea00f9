"""The circumstances of a run that decide its last bits, as its provenance records them."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

_DECIDING: dict[str, tuple[str, ...]] = {
    "platform": ("system", "machine", "processor", "instructions"),
    "versions": ("torch", "numpy", "scikit-learn", "cuda", "cudnn"),
}
"""What decides the last bits of a result. Not among it: Python, pyarrow, the number of processors, the commit; nor a
package that a run never imports."""

CPU_SWITCHES = (
    "ATEN_CPU_CAPABILITY",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "ONEDNN_CPU_ISA_HINTS",
    "DNNL_CPU_ISA_HINTS",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "DNNL_DEFAULT_FPMATH_MODE",
    "OPENBLAS_CORETYPE",
)
"""Environment variables by which the libraries below torch choose their kernels on a processor, and so the last bits.

OpenBLAS is among them because torch itself multiplies with it where there is no MKL, on ARM; what numpy multiplies with
touches no number of a run.
"""

GPU_SWITCHES = (
    "NVIDIA_TF32_OVERRIDE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "CUBLAS_WORKSPACE_CONFIG",
    "TORCH_BLAS_PREFER_CUBLASLT",
    "DISABLE_ADDMM_CUDA_LT",
    "TORCH_CUDNN_V8_API_DISABLED",
)
"""The same on a GPU. They are recorded of every run, and compared where one was computed on a GPU."""


def switches(environment: Mapping[str, str], usual: Mapping[str, str]) -> dict[str, str]:
    """The variables of an environment that decide bits, those that are set.

    Args:
        environment: as `os.environ`.
        usual: what bnbench itself sets where nothing is; a variable with this value counts as not set.
    """
    names = (*CPU_SWITCHES, *GPU_SWITCHES)
    return {name: environment[name] for name in names if environment.get(name) not in {None, "", usual.get(name)}}


def differing_circumstances(
    ours: Mapping[str, JsonValue], theirs: Mapping[str, JsonValue]
) -> dict[str, tuple[str, str]]:
    """What differs between two provenances of `run.json` and decides bits: name to both sides, in words."""
    return differing_facts(_deciding(ours), _deciding(theirs))


def differing_facts(ours: Mapping[str, JsonValue], theirs: Mapping[str, JsonValue]) -> dict[str, tuple[str, str]]:
    """The same of facts by name, the device among them: what is a GPU's concern does not differ between CPUs."""
    on_cpus = ours.get("device") == theirs.get("device") == "cpu"
    names = [name for name in dict.fromkeys([*theirs, *ours]) if not (on_cpus and name in GPU_SWITCHES)]
    return {
        name: (_text(name, ours.get(name)), _text(name, theirs.get(name)))
        for name in names
        if ours.get(name) != theirs.get(name)
    }


def is_switch(name: str) -> bool:
    """Whether a circumstance is an environment variable."""
    return name in CPU_SWITCHES or name in GPU_SWITCHES


def _deciding(provenance: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    facts: dict[str, JsonValue] = {}
    for part, names in _DECIDING.items():
        table = provenance.get(part)
        if isinstance(table, dict):
            facts |= {name: table[name] for name in names if name in table}
    flags = provenance.get("flags")
    return (
        facts
        | {"device": provenance.get("device"), "threads": provenance.get("threads")}
        | (flags if isinstance(flags, dict) else {})
    )


def _text(name: str, value: JsonValue) -> str:
    if value is None:
        return "unset" if is_switch(name) else "unknown"
    return str(value).lower() if isinstance(value, bool) else str(value)
