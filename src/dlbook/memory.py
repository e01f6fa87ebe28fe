"""How far back does a recurrent cell remember? A symbol, then distraction, then a question.

The network sees one of `SYMBOLS` symbols, then `lag` steps that have nothing to do with
it, then a sign that asks which symbol it was. By guessing one is right once in `SYMBOLS`
times. `tools/memory.py` runs this for many lags and seeds.

References: Y. Bengio, P. Simard and P. Frasconi, *Learning long-term dependencies with
gradient descent is difficult* (IEEE Transactions on Neural Networks 5, 1994), where the
first inputs have to be kept through noise; the book's chapter "Recurrent networks".
"""

import functools

import keras
import numpy as np
import tensorflow as tf
from dlbook import nn
from dlbook.recurrent import GRU, LSTM, SimpleRNN, positive

SYMBOLS, UNITS, BATCH, TEST = 8, 32, 32, 1000
PIECE = 40  # updates between two looks at the loss
CELLS = {"rnn": SimpleRNN, "gru": GRU, "lstm": LSTM, "lstm-long": LSTM}


def recall_batch(lag, count, rng, distractors=SYMBOLS):
    """Draw sequences: a symbol, `lag` distractors, the question.

    Parameters
    ----------
    lag, count : int
    rng : numpy.random.Generator
    distractors : int
        How many different ones there are; 1 makes each of them a blank. They are never
        symbols that are asked for.

    Returns
    -------
    array of float32, shape (count, lag + 2, SYMBOLS + distractors + 1)
        One-hot: first the symbols, then the distractors, last the question.
    array of int, shape (count,)
        The symbols to be recalled.
    """
    features = SYMBOLS + positive(distractors, "distractors") + 1
    steps = rng.integers(SYMBOLS, features - 1, (count, positive(lag, "lag") + 2))
    steps[:, 0] = rng.integers(SYMBOLS, size=count)
    steps[:, -1] = features - 1
    return np.eye(features, dtype="float32")[steps], steps[:, 0]


def recall_network(cell, lag, rng, distractors=SYMBOLS):
    """An untrained network for the task.

    Parameters
    ----------
    cell : str
        "rnn", "gru", "lstm", or "lstm-long", an LSTM that is told the lag: the forget
        bias of every unit is ln(lag), its input bias -ln(lag). This is after C. Tallec
        and Y. Ollivier, *Can recurrent neural networks warp time?* (ICLR 2018), who draw
        a number for each unit, uniformly between 1 and the longest lag less 1, and take
        its logarithm.
    lag, rng, distractors
        As in `recall_batch`.

    Returns
    -------
    Sequential, from (batch, lag + 2, SYMBOLS + distractors + 1) to logits (batch, SYMBOLS)
    """
    if cell not in CELLS:
        raise ValueError(f"unknown cell {cell!r}; known are {', '.join(CELLS)}")
    layer = CELLS[cell](SYMBOLS + distractors + 1, UNITS, rng=rng)
    if cell == "lstm-long":
        layer.bias.data[:UNITS] = -np.log(lag)
        layer.bias.data[UNITS : 2 * UNITS] = np.log(lag)
    return nn.Sequential([layer, nn.Dense(UNITS, SYMBOLS, rng=rng)])


@functools.cache
def compiled(layer, distractors):
    """A Keras model around the layer of this name, its optimiser, and what uses both.

    Compiling takes longer than training for a short lag, so it is done once for all lags
    and seeds, and without `fit`, whose preparations would take longer still.

    Returns
    -------
    model : keras.Model
    optimizer : keras.optimizers.Adam
    train : callable
        Makes PIECE updates on inputs (PIECE, BATCH, steps, features) and symbols
        (PIECE, BATCH), and returns the mean of their losses.
    predict : callable
        Maps inputs (batch, steps, features) to logits (batch, SYMBOLS).
    """
    features = SYMBOLS + distractors + 1
    model = keras.Sequential(
        [
            keras.Input((None, features)),
            getattr(keras.layers, layer)(UNITS),
            keras.layers.Dense(SYMBOLS),
        ]
    )
    weights = model.trainable_variables
    optimizer = keras.optimizers.Adam(0.005, global_clipnorm=1.0)
    optimizer.build(weights)
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function(
        input_signature=[
            tf.TensorSpec((PIECE, BATCH, None, features)),
            tf.TensorSpec((PIECE, BATCH), tf.int64),
        ]
    )
    def train(inputs, symbols):
        total = 0.0
        for i in tf.range(PIECE):
            with tf.GradientTape() as tape:
                loss = cross_entropy(symbols[i], model(inputs[i], training=True))
            optimizer.apply(tape.gradient(loss, weights), weights)
            total += loss
        return total / PIECE

    @tf.function(input_signature=[tf.TensorSpec((None, None, features))])
    def predict(inputs):
        return model(inputs)

    return model, optimizer, train, predict


def train_recall(cell, lag, seed, updates, distractors=SYMBOLS):
    """Train a network for one lag with Adam, until it recalls or `updates` are made.

    Every batch is drawn anew. Training ends early when the mean loss of the last PIECE
    batches is below 0.05. It is done in Keras, which is several times faster on LSTM and
    GRU than the engine, from the weights of `recall_network`.

    Parameters
    ----------
    cell, lag, distractors
        As in `recall_network`.
    seed : int
        Of the initial weights and of all sequences.
    updates : int
        How many at most, a multiple of PIECE.

    Returns
    -------
    float, the accuracy on TEST new sequences
    list of float, the mean loss of each PIECE of batches
    """
    if updates % PIECE:
        raise ValueError(f"train_recall: updates is {updates}; expected a multiple of {PIECE}")
    rng = np.random.default_rng(seed)
    network = recall_network(cell, lag, rng, distractors)
    layer = type(network.layers[0]).__name__
    model, optimizer, train, predict = compiled(layer, distractors)
    model.set_weights(network.get_weights())
    for variable in optimizer.variables:  # a new start: count of updates and running means
        if variable is not optimizer.learning_rate:
            variable.assign(np.zeros(variable.shape))
    losses = []
    while len(losses) < updates // PIECE and not (losses and losses[-1] < 0.05):
        inputs, symbols = recall_batch(lag, PIECE * BATCH, rng, distractors)
        inputs = inputs.reshape(PIECE, BATCH, *inputs.shape[1:])
        losses.append(float(train(inputs, symbols.reshape(PIECE, BATCH))))
    inputs, symbols = recall_batch(lag, TEST, rng, distractors)
    return nn.accuracy(predict(inputs).numpy(), symbols), losses


def at_chance(accuracies):
    """Whether networks recall no better than guessing, by the mean of their accuracies.

    Three standard errors above 1 / SYMBOLS still count as guessing; every accuracy is
    one of TEST sequences.
    """
    chance, sequences = 1 / SYMBOLS, TEST * np.size(accuracies)
    return bool(np.mean(accuracies) <= chance + 3 * np.sqrt(chance * (1 - chance) / sequences))
