"""The race of chapter 8: a Transformer and an LSTM of equal size read the same novel.

    python tools/race.py train transformer 0.003 0 PIECES
    python tools/race.py gather PIECES

The first line trains one network (kind, learning rate, seed) and puts what it has learnt
into a file of the directory PIECES; this takes a good minute on one core. The second line
needs, for each kind, seed 0 at every rate of `RATES` and, at the rate whose validation
perplexity was lowest, the seeds 1 and 2. It scores the chosen networks on the test part,
which nothing else opens, writes ``src/dlbook/runs/race.npz`` and prints its SHA-256 for
`dlbook.data.RUN_SHA256`.

Both kinds get the same rows of `STEPS` characters in the same order (an LSTM starts every
row from the state zero) and are judged on the same rows, of which the first half is only
read. Adam's rate rises over `WARM_UP` updates and then stays; what is judged is a running
mean of the weights. Without a schedule that ends, every point of a curve is a fair end,
so that networks may be compared after equally many characters and after equal time.
Seconds are processor time of the updates alone.

Arrays of the file, for each kind: KIND/parameters (int), KIND/rates (3,), KIND/sweep (3,)
(validation perplexities, seed 0), KIND/rate (chosen), KIND/characters (looks,),
KIND/seconds and KIND/validation (seeds, looks), KIND/test (seeds,), KIND/places (STEPS,)
(mean -ln p of the validation part by place in a row that is scored from its first
character, seed 0), transformer/weight0 ... (of seed 0, float16), and script.
"""

import argparse
import hashlib
import time
from pathlib import Path

import dlbook
import keras
import numpy as np
import tensorflow as tf
from dlbook import attention, language
from keras import layers

KINDS = ("transformer", "lstm")
RATES = (0.005, 0.0125, 0.03)
SEEDS = (0, 1, 2)
STEPS, BATCH, WARM_UP, MEAN = 128, 32, 50, 0.995
WIDTH, HEADS, BLOCKS, UNITS = 64, 4, 2, 125
CHARACTERS, LOOKS = 2_949_120, 9  # 720 updates, a look every 80


def transformer(symbols, vocabulary, width=WIDTH, heads=HEADS, blocks=BLOCKS, causal=True):
    """A decoder: symbols (batch, steps) to logits (batch, steps, vocabulary)."""
    inputs = keras.Input((None,), dtype="int32")
    near_one = keras.initializers.RandomNormal(stddev=0.5)
    x = layers.Embedding(symbols, width, near_one)(inputs)
    x = Positions()(x)
    for _ in range(blocks):
        y = layers.LayerNormalization(epsilon=1e-5)(x)
        attend = layers.MultiHeadAttention(heads, width // heads)
        x = layers.Add()([x, attend(y, y, use_causal_mask=causal)])
        y = layers.LayerNormalization(epsilon=1e-5)(x)
        y = layers.Dense(4 * width, activation="relu")(y)
        x = layers.Add()([x, layers.Dense(width)(y)])
    x = layers.LayerNormalization(epsilon=1e-5)(x)
    return keras.Model(inputs, layers.Dense(vocabulary)(x))


class Positions(layers.Layer):
    """Add sinusoidal positions to x (batch, steps, width)."""

    def build(self, shape):
        self.table = tf.constant(attention.sinusoidal_positions(1024, shape[-1]), "float32")

    def call(self, x):
        return x + self.table[: keras.ops.shape(x)[1]]


def network(kind, symbols, vocabulary):
    """A network of the race; the two have equally many weights within 2 %."""
    if kind == "transformer":
        return transformer(symbols, vocabulary)
    inputs = keras.Input((None,), dtype="int32")
    x = layers.Embedding(symbols, WIDTH)(inputs)
    x = layers.LSTM(UNITS, return_sequences=True)(x)
    return keras.Model(inputs, layers.Dense(vocabulary)(x))


def rows_of(text, rng):
    """For ever: inputs and targets (BATCH, STEPS), each epoch cut at other places."""
    (text,) = text
    while True:
        start = rng.integers(STEPS)
        count = (len(text) - 1 - start) // STEPS
        places = start + STEPS * rng.permutation(count)
        for first in range(0, count - BATCH + 1, BATCH):
            index = places[first : first + BATCH, None] + np.arange(STEPS)
            yield text[index].astype("int32"), text[index + 1].astype("int32")


def log_probabilities(model, inputs, targets, batch=128):
    """ln p of all targets (rows, steps), 0 where there is none."""

    @tf.function(reduce_retracing=True)
    def score(inputs, targets):
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
            tf.maximum(targets, 0), model(inputs, training=False)
        )
        return tf.where(targets >= 0, -losses, 0.0)

    pairs = zip(
        *(np.split(part, range(batch, len(inputs), batch)) for part in (inputs, targets)),
        strict=True,
    )
    return np.concatenate([score(*pair).numpy() for pair in pairs])


def held_out(texts, corpus, warm_up=STEPS // 2):
    return language.cut(texts, corpus.vocabulary, STEPS, warm_up)


def perplexity(model, rows):
    return language.perplexity(log_probabilities(model, *rows)[rows[1] >= 0])


def train(kind, rate, seed, characters=CHARACTERS, report=print):
    """Train one network; return its averaged weights and its curves as a dict of arrays."""
    keras.utils.set_random_seed(seed)
    corpus = language.moby_corpus()
    model = network(kind, len(corpus.symbols), corpus.vocabulary)
    mean = keras.models.clone_model(model)
    mean.set_weights(model.get_weights())
    weights = model.trainable_variables
    warm_up = keras.optimizers.schedules.PolynomialDecay(rate / WARM_UP, WARM_UP, rate)
    optimizer = keras.optimizers.Adam(warm_up, global_clipnorm=1.0)
    optimizer.build(weights)

    @tf.function
    def update(inputs, targets, share):
        with tf.GradientTape() as tape:
            logits = model(inputs, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits))
        optimizer.apply(tape.gradient(loss, weights), weights)
        for average, weight in zip(mean.trainable_variables, weights, strict=True):
            average.assign(share * average + (1 - share) * weight)
        return loss

    rows = held_out(corpus.validation, corpus)
    batches = rows_of(corpus.train, np.random.default_rng(seed))
    updates = characters // (BATCH * STEPS)
    curve, seconds = {"characters": [], "seconds": [], "validation": []}, 0.0
    update(*map(tf.constant, next(batches)), tf.constant(0.0))  # compiled before the clock runs
    for step in range(1, updates + 1):
        inputs, targets = map(tf.constant, next(batches))
        share = tf.constant(min(MEAN, step / (step + 10)))
        started = time.process_time()
        loss = update(inputs, targets, share)
        float(loss)
        seconds += time.process_time() - started
        if step % max(updates // LOOKS, 1) == 0:
            values = step * BATCH * STEPS, seconds, perplexity(mean, rows)
            for so_far, value in zip(curve.values(), values, strict=True):
                so_far.append(value)
            report(f"{kind} {rate} {seed}: {values[0]:,} characters, {seconds:.0f} s, "
                   f"validation {values[2]:.3f}, last loss {float(loss):.3f}")  # fmt: skip
    inputs, targets = held_out(corpus.validation, corpus, 0)
    return {
        **{name: np.array(values) for name, values in curve.items()},
        "places": -log_probabilities(mean, inputs[:-1], targets[:-1]).mean(axis=0),
        "parameters": np.array(model.count_params()),
        **{f"weight{i}": array for i, array in enumerate(mean.get_weights())},
    }


def gather(directory):
    """Choose the rates, score the chosen networks on the test part; the file's arrays."""
    corpus = language.moby_corpus()
    rows, run = held_out(corpus.test, corpus), {"script": np.array("tools/race.py")}
    for kind in KINDS:
        sweep = [dict(np.load(directory / f"{kind}-{rate}-0.npz")) for rate in RATES]
        scores = [float(piece["validation"][-1]) for piece in sweep]
        rate = RATES[int(np.argmin(scores))]
        pieces = [dict(np.load(directory / f"{kind}-{rate}-{seed}.npz")) for seed in SEEDS]
        model, tests = network(kind, len(corpus.symbols), corpus.vocabulary), []
        for piece in pieces:
            arrays = [piece[f"weight{i}"] for i in range(len(model.weights))]
            model.set_weights(arrays)
            tests.append(perplexity(model, rows))
        found = {
            "parameters": pieces[0]["parameters"],
            "rates": np.array(RATES),
            "sweep": np.array(scores),
            "rate": np.array(rate),
            "characters": pieces[0]["characters"],
            **{name: np.array([p[name] for p in pieces]) for name in ("seconds", "validation")},
            "test": np.array(tests),
            "places": pieces[0]["places"],
        }
        if kind == "transformer":
            found |= {
                name: array.astype("float16")
                for name, array in pieces[0].items()
                if name.startswith("weight")
            }
        run |= {f"{kind}/{name}": array for name, array in found.items()}
    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("train")
    one.add_argument("kind", choices=KINDS)
    one.add_argument("rate", type=float)
    one.add_argument("seed", type=int)
    one.add_argument("directory", type=Path)
    commands.add_parser("gather").add_argument("directory", type=Path)
    chosen = parser.parse_args()
    if chosen.command == "train":
        run = train(chosen.kind, chosen.rate, chosen.seed, report=lambda s: print(s, flush=True))
        chosen.directory.mkdir(exist_ok=True)
        name = f"{chosen.kind}-{chosen.rate}-{chosen.seed}.npz"
        np.savez(chosen.directory / name, **run)
        return
    path = dlbook.data.RUNS / "race.npz"
    run = gather(chosen.directory)
    np.savez_compressed(path, **run)
    for name in ("parameters", "rate", "sweep", "test"):
        print(name, {kind: run[f"{kind}/{name}"] for kind in KINDS})
    print(f'"race": "{hashlib.sha256(path.read_bytes()).hexdigest()}",')
    print(f"{path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
