"""The race of chapter 8, in full: a Transformer and an LSTM of equal size read *Moby-Dick*.

    python tools/race.py train transformer 0.005 0 PIECES
    python tools/race.py gather PIECES

The first line trains one network (kind, learning rate, seed) and puts what it has learnt
into a file of the directory PIECES; this takes a good minute on one core. The second line
needs, for each kind, seed 0 at every rate of `RATES` and, at the rate whose validation
perplexity was lowest, the seeds 1 and 2. (The LSTM's rates were those of the Transformer
at first; as it was best at the largest, its lowest, 0.005 with 6.27, gave way to a higher
one.) It scores the chosen networks on the test part,
which nothing else opens, writes ``src/dlbook/runs/race.npz`` and prints its SHA-256 for
`dlbook.data.RUN_SHA256`.

Arrays of the file, for each kind: KIND/parameters (int), KIND/rates (3,), KIND/sweep (3,)
(validation perplexities, seed 0), KIND/rate (chosen), KIND/characters (looks,),
KIND/seconds and KIND/validation (seeds, looks), KIND/test (seeds,), KIND/places (128,)
(mean -ln p of the validation part by place in a row that is scored from its first
character, seed 0), transformer/weight0 ... (of seed 0, float16), and script.
"""

import argparse
import hashlib
from pathlib import Path

import dlbook
import numpy as np
from dlbook import language, race

RATES = {"transformer": (0.005, 0.0125, 0.03), "lstm": (0.0125, 0.03, 0.06)}
SEEDS = (0, 1, 2)
CHARACTERS, LOOKS = 2_949_120, 9  # 720 updates, a look every 80


def piece(kind, rate, seed, characters=CHARACTERS, looks=LOOKS):
    """Train one network; its curves, losses by place and weights as a dict of arrays."""
    corpus = language.moby_corpus()
    rows = race.held_out(corpus.validation, corpus.vocabulary)
    report = lambda line: print(f"{kind} {rate} {seed}: {line}", flush=True)
    model, curve = race.train(kind, rate, seed, characters, looks, rows, report=report)
    inputs, targets = race.held_out(corpus.validation, corpus.vocabulary, 0)
    return {
        **{name: np.array(values) for name, values in curve.items()},
        "places": -race.log_probabilities(model, inputs[:-1], targets[:-1]).mean(axis=0),
        "parameters": np.array(model.count_params()),
        **{f"weight{i}": array for i, array in enumerate(model.get_weights())},
    }


def gather(directory):
    """Choose the rates and score the chosen networks on the test part; the file's arrays."""
    corpus = language.moby_corpus()
    rows = race.held_out(corpus.test, corpus.vocabulary)
    run = {"script": np.array("tools/race.py")}
    for kind in race.KINDS:
        sweep = [dict(np.load(directory / f"{kind}-{rate}-0.npz")) for rate in RATES[kind]]
        scores = [float(found["validation"][-1]) for found in sweep]
        rate = RATES[kind][int(np.argmin(scores))]
        pieces = [dict(np.load(directory / f"{kind}-{rate}-{seed}.npz")) for seed in SEEDS]
        model, tests = race.network(kind, len(corpus.symbols), corpus.vocabulary), []
        for found in pieces:
            model.set_weights([found[f"weight{i}"] for i in range(len(model.weights))])
            tests.append(race.perplexity(model, rows))
        arrays = {
            "parameters": pieces[0]["parameters"],
            "rates": np.array(RATES[kind]),
            "sweep": np.array(scores),
            "rate": np.array(rate),
            "characters": pieces[0]["characters"],
            **{name: np.array([p[name] for p in pieces]) for name in ("seconds", "validation")},
            "test": np.array(tests),
            "places": pieces[0]["places"],
        }
        if kind == "transformer":
            weights = [name for name in pieces[0] if name.startswith("weight")]
            arrays |= {name: pieces[0][name].astype("float16") for name in weights}
        run |= {f"{kind}/{name}": array for name, array in arrays.items()}
    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("train")
    one.add_argument("kind", choices=race.KINDS)
    one.add_argument("rate", type=float)
    one.add_argument("seed", type=int)
    one.add_argument("directory", type=Path)
    commands.add_parser("gather").add_argument("directory", type=Path)
    chosen = parser.parse_args()
    if chosen.command == "train":
        found = piece(chosen.kind, chosen.rate, chosen.seed)
        chosen.directory.mkdir(exist_ok=True)
        np.savez(chosen.directory / f"{chosen.kind}-{chosen.rate}-{chosen.seed}.npz", **found)
        return
    path = dlbook.data.RUNS / "race.npz"
    run = gather(chosen.directory)
    np.savez_compressed(path, **run)
    for name in ("parameters", "rate", "sweep", "test"):
        print(name, {kind: run[f"{kind}/{name}"] for kind in race.KINDS})
    print(f'"race": "{hashlib.sha256(path.read_bytes()).hexdigest()}",')
    print(f"{path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
