"""Train the programs of `dlbook.frameworks` and write `src/dlbook/runs/frameworks.npz`.

    python tools/frameworks.py

It needs TensorFlow, JAX and PyTorch (requirements-frameworks.txt), takes about ten minutes of one core, and goes on
where it was stopped; delete `_build/frameworks` to begin anew. The arrays:

accuracy : shape (cases, seeds)
    On the held-out images, after the last epoch.
difference : shape (cases, seeds, looks)
    Largest difference of a logit, over 100 held-out images, from Keras on TensorFlow with the same optimiser and
    number format, after so many updates (`looks`).
seconds : shape (cases, seeds, looks)
    Of training since the look before, on one core; the first has what is compiled first.
cases, looks, versions, script
    What the axes count, the libraries' versions, and the name of this script. A case is "program, optimiser, format",
    or "nudged, ...": Keras on TensorFlow with all initial weights multiplied by 1 + 2**-23.

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
REFERENCE = "keras-tensorflow"
NUDGE = 1 + 2**-23
LIBRARIES = ("keras", "tensorflow-cpu", "jax", "torch", "numpy")


def cases():
    """Name of a case: arguments of `frameworks.run`."""
    for optimizer, dtype in KINDS:
        for program in frameworks.PROGRAMS:
            yield f"{program}, {optimizer}, {dtype}", (program, optimizer, dtype, 1.0)
        if dtype == "float32":
            yield f"nudged, {optimizer}, {dtype}", (REFERENCE, optimizer, dtype, NUDGE)


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
    names, accuracy, difference, seconds, references = [], [], [], [], {}
    for name, arguments in cases():
        runs = result(name, arguments)
        logits = np.array([run["logits"] for run in runs])
        reference = references.setdefault(arguments[1:3], logits)  # the first program is REFERENCE
        names.append(name)
        accuracy.append([run["accuracy"] for run in runs])
        difference.append(np.abs(logits - reference).max(axis=(2, 3)))
        seconds.append([run["seconds"] for run in runs])
        print(name, accuracy[-1], difference[-1].max(axis=0), flush=True)
    later = [frameworks.UPDATES * (k + 1) for k in range(1, EPOCHS)]
    np.savez(
        RESULT,
        cases=names,
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
