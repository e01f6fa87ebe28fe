"""Train every cell of `dlbook.memory` for every lag and seed, and write `src/dlbook/runs/memory.npz`.

    python tools/memory.py

It takes about a quarter of an hour of one core, and goes on where it was stopped; delete
`_build/memory.npz` to begin anew. The arrays:

accuracy, updates : shape (cells, lags, seeds)
    Share of symbols recalled at the end, and updates made; nan and 0 where a cell was
    not tried, because its networks were at chance for a shorter lag.
loss : shape (cells, lags, seeds, pieces)
    The mean loss of each piece of the training; nan after its end.
cells, lags, most_updates, piece, script
    What the axes count, the two numbers of updates, and the name of this script.

The SHA-256 that it prints belongs into `dlbook.data.RUN_SHA256`.
"""

import hashlib
from pathlib import Path

import numpy as np
from dlbook import memory

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "src" / "dlbook" / "runs" / "memory.npz"
PARTIAL = ROOT / "_build" / "memory.npz"
# name: cell and number of different distractors, of which one alone is a blank
CELLS = {cell: (cell, memory.SYMBOLS) for cell in memory.CELLS} | {"rnn-blanks": ("rnn", 1)}
LAGS = (5, 10, 20, 40, 80, 160)
SEEDS = 10
UPDATES = 400
SHAPE = len(CELLS), len(LAGS), SEEDS


def entry(name, lag, seed):
    """One entry of each array: accuracy, updates, loss."""
    cell, distractors = CELLS[name]
    accuracy, losses = memory.train_recall(cell, lag, seed, UPDATES, distractors)
    curve = np.full(UPDATES // memory.PIECE, np.nan, "float32")
    curve[: len(losses)] = losses
    return accuracy, len(losses) * memory.PIECE, curve


def empty():
    """Arrays for everything, not yet filled: an accuracy of nan is one to compute."""
    return {
        "accuracy": np.full(SHAPE, np.nan),
        "updates": np.zeros(SHAPE, int),
        "loss": np.full((*SHAPE, UPDATES // memory.PIECE), np.nan, "float32"),
    }


def save(path, arrays):
    """Write all at once, so that a reader never finds half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    with open(temporary, "wb") as file:
        np.savez(file, **arrays)
    temporary.replace(path)


def main():
    arrays = empty()
    if PARTIAL.is_file():
        with np.load(PARTIAL, allow_pickle=False) as done:
            arrays = {name: done[name] for name in arrays}
    for j, lag in enumerate(LAGS):
        for i, name in enumerate(CELLS):
            before = arrays["accuracy"][i, j - 1]
            if j and (np.isnan(before).any() or memory.at_chance(before)):
                continue
            for seed in range(SEEDS):
                if np.isnan(arrays["accuracy"][i, j, seed]):
                    for array, value in zip(arrays.values(), entry(name, lag, seed)):
                        array[i, j, seed] = value
                    save(PARTIAL, arrays)
            print(f"lag {lag:3}, {name:10}", np.sort(arrays["accuracy"][i, j]), flush=True)
    facts = {"cells": list(CELLS), "lags": LAGS, "most_updates": UPDATES, "piece": memory.PIECE}
    save(RESULT, arrays | facts | {"script": "tools/memory.py"})
    print(hashlib.sha256(RESULT.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
