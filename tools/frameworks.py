"""Train the programs of `dlbook.frameworks` and write `src/dlbook/runs/frameworks.npz`.

    python tools/frameworks.py

It needs TensorFlow, JAX and PyTorch (requirements-frameworks.txt), takes about ten minutes of one core, and goes on
where it was stopped; delete `_build/frameworks` to begin anew. The arrays:

accuracy : shape (cases, seeds)
    On the held-out images, after the last epoch.
difference : shape (cases, seeds, looks)
    Largest difference of a logit, over 100 held-out images, from plain PyTorch with the same optimiser and number
    format, after so many updates (`looks`); that of a nudged run is from the run that was not nudged.
seconds : shape (cases, seeds, looks)
    Of training since the look before, on a busy machine; the first has what is compiled first.
cases, looks, versions, script
    What the axes count, the libraries' versions, and the name of this script. A case is "program, optimiser, format",
    or "nudged, ...": Keras on TensorFlow with all initial weights multiplied by 1 + 2**-23. The optimiser "sgd-half"
    has a momentum of 0.5, a number that float32 has exactly, where "sgd" has 0.9.

The SHA-256 that it prints belongs into `dlbook.data.RUN_SHA256`.
"""

import hashlib
import importlib.metadata
import json
from pathlib import Path

import numpy as np
from dlbook import frameworks

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "src" / "dlbook" / "runs" / "frameworks.npz"
PARTIAL = ROOT / "_build" / "frameworks"
EPOCHS, SEEDS = 3, tuple(range(5))
KINDS = [("sgd", "float32"), ("sgd", "float64"), ("adam", "float32"), ("adam", "float64")]
NUDGE = 1 + 2**-23
LIBRARIES = ("keras", "tensorflow-cpu", "jax", "torch", "numpy")


def cases():
    """Name of a case: arguments of `frameworks.run`."""
    for optimizer, dtype in KINDS:
        for program in frameworks.PROGRAMS:
            yield f"{program}, {optimizer}, {dtype}", (program, optimizer, dtype, 1.0)
        if dtype == "float32":
            yield f"nudged, {optimizer}, {dtype}", ("keras-tensorflow", optimizer, dtype, NUDGE)
    for program in ("keras-tensorflow", "torch"):
        yield f"{program}, sgd-half, float64", (program, "sgd-half", "float64", 1.0)


def result(name, arguments):
    """What `frameworks.run` returns, kept in a file."""
    path = PARTIAL / f"{name.replace(', ', '-')}.json"
    if not path.is_file():
        PARTIAL.mkdir(parents=True, exist_ok=True)
        done = frameworks.run(*arguments, EPOCHS, SEEDS)
        temporary = path.with_suffix(".part")
        temporary.write_text(json.dumps(done), encoding="utf-8")
        temporary.replace(path)
    return json.loads(path.read_text(encoding="utf-8"))


def main():
    runs = {name: result(name, arguments) for name, arguments in cases()}
    logits = {name: np.array([run["logits"] for run in done]) for name, done in runs.items()}
    accuracy = [[run["accuracy"] for run in done] for done in runs.values()]
    seconds = [[run["seconds"] for run in done] for done in runs.values()]
    difference = []
    for name in runs:
        program, kind = name.split(", ", 1)
        reference = "keras-tensorflow" if program == "nudged" else "torch"
        difference.append(np.abs(logits[name] - logits[f"{reference}, {kind}"]).max(axis=(2, 3)))
        print(name, difference[-1].max(axis=0), flush=True)
    later = [frameworks.UPDATES * (k + 1) for k in range(1, EPOCHS)]
    np.savez(
        RESULT,
        cases=list(runs),
        accuracy=accuracy,
        difference=difference,
        seconds=seconds,
        looks=[*frameworks.LOOKS, *later],
        versions=[f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES],
        script="tools/frameworks.py",
    )
    print(hashlib.sha256(RESULT.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
