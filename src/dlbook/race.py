"""A Transformer and an LSTM of equal size read the same novel: networks and training, in Keras.

Both get the same rows of `STEPS` characters of *Moby-Dick* in the same order (the LSTM
starts every row from the state zero) and are judged on the same rows, of which the first
half is only read. Adam's rate rises over `WARM_UP` updates and then stays; what is judged
is a running mean of the weights. Without a schedule that ends, every point of a curve is a
fair end, so that networks may be compared after equally many characters and after equal
time. ``tools/race.py`` runs the whole race.

Reference: the book's chapter "Future and challenges".
"""

import time

import keras
import numpy as np
import tensorflow as tf
from dlbook import language
from dlbook.attention import sinusoidal_positions
from keras import layers

KINDS = ("transformer", "lstm")
STEPS, BATCH, WARM_UP, MEAN = 128, 32, 50, 0.995
WIDTH, HEADS, BLOCKS, UNITS = 64, 4, 2, 125


class Positions(layers.Layer):
    """Add `sinusoidal_positions` to a sequence (batch, steps, width)."""

    def call(self, x):
        steps = keras.ops.shape(x)[1]
        table = tf.constant(sinusoidal_positions(1024, x.shape[-1]), x.dtype)
        return x + table[:steps]


def decode(x, width, heads, blocks, outputs, causal=True):
    """Decoder blocks as in `dlbook.attention`: vectors (batch, steps, width) to logits."""
    x = Positions()(x)
    for _ in range(blocks):
        y = layers.LayerNormalization(epsilon=1e-5)(x)
        attend = layers.MultiHeadAttention(heads, width // heads)
        x = layers.Add()([x, attend(y, y, use_causal_mask=causal)])
        y = layers.LayerNormalization(epsilon=1e-5)(x)
        y = layers.Dense(4 * width, activation="relu")(y)
        x = layers.Add()([x, layers.Dense(width)(y)])
    return layers.Dense(outputs)(layers.LayerNormalization(epsilon=1e-5)(x))


def network(kind, symbols, vocabulary, width=WIDTH, heads=HEADS, blocks=BLOCKS, causal=True):
    """A network of the race: symbols (batch, steps) to logits (batch, steps, vocabulary).

    With the sizes given here the two kinds, "transformer" and "lstm", have equally many
    weights within 2 %. The options change the Transformer only.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}; known are {', '.join(KINDS)}")
    inputs = keras.Input((None,), dtype="int32")
    if kind == "lstm":
        x = layers.Embedding(symbols, WIDTH)(inputs)
        x = layers.LSTM(UNITS, return_sequences=True)(x)
        return keras.Model(inputs, layers.Dense(vocabulary)(x))
    vectors = layers.Embedding(symbols, width, keras.initializers.RandomNormal(stddev=0.5))
    return keras.Model(inputs, decode(vectors(inputs), width, heads, blocks, vocabulary, causal))


def batches(texts, rng):
    """For ever: inputs and targets (BATCH, STEPS), each epoch cut at other places."""
    (text,) = texts
    while True:
        start = rng.integers(STEPS)
        count = (len(text) - 1 - start) // STEPS
        places = start + STEPS * rng.permutation(count)
        for first in range(0, count - BATCH + 1, BATCH):
            index = places[first : first + BATCH, None] + np.arange(STEPS)
            yield text[index].astype("int32"), text[index + 1].astype("int32")


def held_out(texts, vocabulary, warm_up=STEPS // 2):
    """Rows (inputs, targets) in which every target has `warm_up` characters before it."""
    return language.cut(texts, vocabulary, STEPS, warm_up)


def log_probabilities(model, inputs, targets, batch=128):
    """ln p of all targets, shape (rows, steps); 0 where there is none."""

    found = []
    for start in range(0, len(inputs), batch):
        part = inputs[start : start + batch], targets[start : start + batch]
        found.append(score(model, *map(tf.constant, part)).numpy())
    return np.concatenate(found)


@tf.function(reduce_retracing=True)
def score(model, inputs, targets):
    """What `log_probabilities` returns, for one batch."""
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
        tf.maximum(targets, 0), model(inputs, training=False)
    )
    return tf.where(targets >= 0, -losses, 0.0)


def perplexity(model, rows):
    """e to the mean of -ln p of the targets of `rows` (inputs, targets)."""
    return language.perplexity(log_probabilities(model, *rows)[rows[1] >= 0])


def train(kind, rate, seed, characters, looks, rows, causal=True, report=None):
    """Train a network on the training chapters.

    Parameters
    ----------
    kind, causal
        As in `network`.
    rate : float
        Adam's, after the warm-up.
    seed : int
        Of the initial weights and the order of the rows.
    characters, looks : int
        How many characters are read, and how often the network is judged meanwhile.
    rows : (inputs, targets)
        What it is judged on.
    report : callable or None
        Given a line at each look.

    Returns
    -------
    keras.Model
        With the running mean of the weights.
    dict of lists, one value a look
        "characters", "seconds" (processor time of the updates alone), "validation"
        (perplexity on `rows`) and "training" (perplexity of the updates since the last
        look, by the weights of that moment).
    """
    keras.utils.set_random_seed(seed)
    corpus = language.moby_corpus()
    model = network(kind, len(corpus.symbols), corpus.vocabulary, causal=causal)
    mean = network(kind, len(corpus.symbols), corpus.vocabulary, causal=causal)
    mean.set_weights(model.get_weights())
    weights = model.trainable_variables
    schedule = keras.optimizers.schedules.PolynomialDecay(rate / WARM_UP, WARM_UP, rate)
    optimizer = keras.optimizers.Adam(schedule, global_clipnorm=1.0)
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

    source = batches(corpus.train, np.random.default_rng(seed))
    updates = characters // (BATCH * STEPS)
    every = max(updates // looks, 1)
    curve = {"characters": [], "seconds": [], "validation": [], "training": []}
    seconds, recent = 0.0, []
    update(*map(tf.constant, next(source)), tf.constant(0.0))  # compiled before the clock runs
    for step in range(1, updates + 1):
        inputs, targets = map(tf.constant, next(source))
        share = tf.constant(min(MEAN, step / (step + 10)))  # the first weights are forgotten
        started = time.process_time()
        recent.append(float(update(inputs, targets, share)))
        seconds += time.process_time() - started
        if step % every:
            continue
        values = step * BATCH * STEPS, seconds, perplexity(mean, rows), np.exp(np.mean(recent))
        recent = []
        for so_far, value in zip(curve.values(), values, strict=True):
            so_far.append(float(value))
        if report:
            report("{:,} characters, {:.0f} s: validation {:.3f}, training {:.3f}".format(*values))
    return mean, curve
