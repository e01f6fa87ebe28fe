"""Execute notebooks from a clean kernel and store their outputs, and spread their numbers over seeds.

    python tools/notebooks.py store [NN ...]           make notebooks
    python tools/notebooks.py reseed [NN ...] --seeds N  make reseed

Stored outputs come only from here. Each notebook carries a seal, the SHA-256 of its code and outputs, so that a test can
tell an output that a run printed from one that was typed.
"""

import argparse
import hashlib
import json
import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "book" / "results.json"
RUNS = ROOT / "src" / "dlbook" / "runs"
RECORD = "application/papermill.record/"
KEEP_CELL_METADATA = {"tags", "nbgrader", "mystnb"}
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"},
}


def notebooks(prefixes=(), exercises=False):
    """The book's notebooks in order, or those whose name starts with one of `prefixes`, such as "03"."""
    found = sorted((ROOT / "notebooks").glob("*.ipynb"))
    if exercises:
        found += sorted((ROOT / "notebooks" / "exercises").glob("*/*.ipynb"))
    chosen = [path for path in found if not prefixes or path.name.startswith(tuple(prefixes))]
    if not chosen:
        raise SystemExit(
            f"no notebook starts with {' or '.join(prefixes)}; there are: {', '.join(path.stem for path in found)}"
        )
    return chosen


def execute(path, seed=None):
    """Run the notebook at `path` in a clean kernel; return it with its outputs, and the seconds it took."""
    notebook = nbformat.read(path, as_version=4)
    environment = {name: value for name, value in os.environ.items() if name != "DLBOOK_SEED"}
    if seed is not None:
        environment["DLBOOK_SEED"] = str(seed)
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": path.parent}},
        coalesce_streams=True,  # or the pieces in which a line arrives differ from run to run
    )
    started = time.perf_counter()
    client.execute(env=environment)
    return notebook, time.perf_counter() - started


def strip(notebook):
    """Remove what differs from run to run or from machine to machine, in place: cell times, versions, trusted flags."""
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict(
            {key: value for key, value in cell.metadata.items() if key in KEEP_CELL_METADATA}
        )


def seal(notebook):
    """SHA-256 of the notebook's code and stored outputs."""
    cells = [
        [cell.source, cell.execution_count, cell.outputs]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]
    return hashlib.sha256(json.dumps(cells, sort_keys=True).encode()).hexdigest()


def code_hash(notebook):
    """SHA-256 of the notebook's code alone: what `results.json` was computed with."""
    return hashlib.sha256(
        "\0".join(cell.source for cell in notebook.cells if cell.cell_type == "code").encode()
    ).hexdigest()


def recorded(cells):
    """The numbers in the outputs of `cells`: {name: (value, facts)}; recorded figures have the value None."""
    found = {}
    for cell in cells:
        for output in cell.get("outputs", []):
            name = output.get("metadata", {}).get("scrapbook", {}).get("name")
            if name is None:
                continue
            if name in found:
                raise ValueError(f"{name!r} is recorded twice")
            text = output["data"].get(RECORD + "text/plain")
            found[name] = (
                None if text is None else json.loads(text),
                output["metadata"].get("dlbook", {}),
            )
    return found


def keep_run(directory):
    """Move what a notebook has saved for other chapters, NAME.npz beside it, into the package."""
    for saved in sorted(directory.glob("*.npz")):
        content = saved.read_bytes()
        (RUNS / saved.name).write_bytes(content)
        saved.unlink()
        digest = hashlib.sha256(content).hexdigest()
        print(f"src/dlbook/runs/{saved.name}: belongs into dlbook.data.RUN_SHA256 as {digest}")


def store(paths):
    for path in paths:
        for old in path.parent.glob("*.npz"):  # of another seed
            old.unlink()
        notebook, seconds = execute(path)
        strip(notebook)
        recorded(notebook.cells)
        notebook.metadata["dlbook"] = {"seal": seal(notebook)}
        nbformat.validate(notebook)
        temporary = path.with_suffix(".tmp")
        nbformat.write(notebook, temporary)
        temporary.replace(path)
        keep_run(path.parent)
        print(f"{path.relative_to(ROOT)}: executed in {seconds:.0f} s and stored")


def reseed(paths, seeds):
    """Run each notebook under seeds 0 to `seeds` - 1 and store its numbers. A claim that fails under any seed is an error."""
    results = (
        json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {"notebooks": {}}
    )
    failures = []
    for path in paths:
        values, facts, times = {}, {}, []
        for seed in range(seeds):
            try:
                notebook, seconds = execute(path, seed)
            except CellExecutionError as error:
                failures.append(f"{path.stem}, seed {seed}: {error.ename}: {error.evalue}")
                print(failures[-1], flush=True)
                continue
            times.append(round(seconds, 1))
            for name, (value, fact) in recorded(notebook.cells).items():
                if value is not None:
                    values.setdefault(name, []).append(value)
                    facts.setdefault(name, fact)  # of seed 0, which the notebooks store
            print(f"{path.stem}, seed {seed}: every claim holds, {seconds:.0f} s", flush=True)
        results["notebooks"][path.stem] = {
            "code_sha256": code_hash(nbformat.read(path, as_version=4)),
            "seeds": list(range(seeds)),
            "seconds": times,
            "numbers": {name: {"values": values[name], **facts[name]} for name in values},
        }
    if failures:
        raise SystemExit(
            f"{len(failures)} of the runs failed; {RESULTS.relative_to(ROOT)} is left as it was"
        )
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["store", "reseed"])
    parser.add_argument(
        "prefixes", nargs="*", help="chapter numbers, such as 03; all if none is given"
    )
    parser.add_argument("--seeds", type=int, default=5)
    chosen = parser.parse_args(arguments)
    if chosen.what == "store":
        store(notebooks(chosen.prefixes, exercises=True))
    else:
        reseed(notebooks(chosen.prefixes), chosen.seeds)


if __name__ == "__main__":
    sys.exit(main())
