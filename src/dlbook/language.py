"""Language models: texts as numbers, Kneser-Ney n-grams, perplexity, and sampling.

A text is an array of whole numbers, one for each symbol. The symbols 0 to V - 1 are those
that a model has to predict; symbols from V on are only *read*: a model finds them in what
came before, and is never asked for them.

Reference: the book's chapter "Recurrent networks".
"""

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
from dlbook.data import load
from dlbook.nn import Dense
from dlbook.recurrent import LSTM, Embedding
from dlbook.tensor import no_grad

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
FORMS = ("⑤", "⑦")  # the poem that follows has lines of five, or of seven characters
START = "¶"  # a text begins


@dataclass(frozen=True)
class Corpus:
    """Texts in three parts, as numbers.

    Attributes
    ----------
    symbols : tuple of str
        What each number stands for. Number 0 is `UNKNOWN`: every character that is too
        rare in the training part, or does not occur there.
    vocabulary : int
        V: the first V symbols are predicted, the others are only read.
    train, validation, test : tuple of numpy.ndarray of int64
        The texts of each part.
    """

    symbols: tuple
    vocabulary: int
    train: tuple
    validation: tuple
    test: tuple

    def decode(self, text):
        """The characters of a text as one str."""
        return "".join(self.symbols[number] for number in text)


def corpus(parts, least, read=()):
    """Turn the characters of three parts into numbers.

    Parameters
    ----------
    parts : three sequences of str
        Texts for training, validation and test.
    least : int
        Characters that occur less often in the training texts become `UNKNOWN`, in all
        parts.
    read : sequence of str
        Characters that are only read; they come last.

    Returns
    -------
    Corpus
        Its symbols are sorted by how often they occur in the training texts, the most
        frequent first, then by code point.
    """
    counts = Counter(character for text in parts[0] for character in text)
    kept = [c for c in counts if counts[c] >= least and c not in read]
    kept.sort(key=lambda character: (-counts[character], character))
    symbols = (UNKNOWN, *kept, *read)
    number = {symbol: i for i, symbol in enumerate(symbols)}
    parts = [
        tuple(np.array([number.get(c, 0) for c in text], np.int64) for text in texts)
        for texts in parts
    ]
    return Corpus(symbols, len(kept) + 1, *parts)


def tang_texts():
    """The quatrains as strings, in three parts.

    A poem is its form, one of `FORMS`, then four lines with a comma after the first and
    third and a full stop after the second. The split is by poem, 90, 5 and 5 %,
    dealt out by one fixed permutation that does not depend on DLBOOK_SEED, so that every
    run and every stored training is judged on the same poems. An author may have poems
    in several parts.

    Returns
    -------
    list of three lists of str: training, validation, test
    """
    quatrains = load("tang-quatrains")
    texts = [
        form + "{}，{}。{}，{}".format(*poem.lines)
        for form, poems in zip(FORMS, (quatrains.five, quatrains.seven))
        for poem in poems
    ]
    texts = [texts[i] for i in np.random.default_rng(5).permutation(len(texts))]
    held_out = round(0.05 * len(texts))
    return [texts[: -2 * held_out], texts[-2 * held_out : -held_out], texts[-held_out:]]


def tang_corpus():
    """The quatrains as a `Corpus`: a text is a poem, as in `tang_texts`.

    Characters that occur once in the training part are unknown. Form and punctuation are
    only read.
    """
    return corpus(tang_texts(), least=2, read=(*FORMS, "，", "。"))


def moby_texts():
    """Melville's novel as three strings: `START`, then whole chapters.

    Chapters 1 to 108 are for training, 109 to 121 for validation, 122 to 135 for testing:
    the end of a book is not written quite like its beginning. The line breaks of the file
    are typography and become spaces; a new paragraph is one line break.

    Returns
    -------
    list of three lists of one str: training, validation, test
    """
    chapters = [
        re.sub(r"\s*\n\s*", lambda gap: "\n" if gap[0].count("\n") > 1 else " ", chapter.strip())
        for chapter in load("moby-dick").chapters
    ]
    return [
        [START + "\n".join(part)] for part in (chapters[:108], chapters[108:121], chapters[121:])
    ]


def moby_corpus():
    """The novel as a `Corpus`: one text for each part, as in `moby_texts`.

    Characters that occur less than ten times in the training part are unknown.
    """
    return corpus(moby_texts(), least=10, read=(START,))


def cut(texts, vocabulary, length, warm_up=0):
    """Cut texts into rows of inputs, and of targets one step later.

    Parameters
    ----------
    texts : sequence of arrays of int
        The first symbol of each has nothing before it and is no target.
    vocabulary : int
        Symbols from this number on are no targets either: they are only read.
    length : int
        Steps of a row.
    warm_up : int
        Each row but the first of a text begins with this many steps of the row before:
        a network reads them again, and they are not targets again.

    Returns
    -------
    inputs, targets : numpy.ndarray of int32, shape (rows, length)
        Where there is no target, it is -1; where a text has ended, the input is 0.
    """
    if not 0 <= warm_up < length:
        raise ValueError(
            f"cut: warm_up must be from 0 to length - 1 = {length - 1}, got {warm_up!r}"
        )
    inputs, targets = [], []
    for text in texts:
        text = np.asarray(text)
        goal = np.where(text < vocabulary, text, -1)[1:]
        starts = range(0, max(len(goal) - warm_up, 1), length - warm_up)
        for start in starts:
            row = np.full((2, length), [[0], [-1]], np.int32)
            stop = min(start + length, len(goal))
            row[0, : stop - start] = text[start:stop]
            row[1, : stop - start] = goal[start:stop]
            if start:
                row[1, :warm_up] = -1
            inputs.append(row[0])
            targets.append(row[1])
    return np.array(inputs), np.array(targets)


class KneserNey:
    """An interpolated Kneser-Ney n-gram model, counted with sorted arrays.

    Every text is read as if `order` - 1 copies of a symbol of its own stood in front of
    it, so that the first symbols have a context, too. This boundary, like all symbols
    from `vocabulary` on, is only read.

    Parameters
    ----------
    texts : sequence of arrays of int
        The training texts.
    order : int
        n: a symbol is predicted from the n - 1 symbols before it.
    vocabulary : int
        V: the symbols 0 to V - 1 are predicted.
    discounts : "one", "three" or float
        "one" estimates a discount D for each order, n₁ / (n₁ + 2 n₂), where n_k is the
        number of strings with count k. "three" estimates separate ones for the counts k
        of 1, of 2, and of 3 or more, D_k = k - (k + 1) D n_(k+1) / n_k: "modified"
        Kneser-Ney; an order with too few strings for them has one. If they are too few
        for one, D is 0.5. A number from 0 to 1 is D for all orders.

    Attributes
    ----------
    discounts : list of numpy.ndarray of shape (4,)
        For order 1 to n: the discounts of counts 0, 1, 2, and 3 or more. That of count 0
        is 0: where nothing is, nothing can be taken.

    References
    ----------
    R. Kneser and H. Ney, *Improved backing-off for M-gram language modeling* (ICASSP
    1995); S. F. Chen and J. Goodman, *An empirical study of smoothing techniques for
    language modeling* (Computer Speech & Language 13, 1999), equations 16 and 26.
    """

    def __init__(self, texts, order, vocabulary, discounts="one"):
        if not isinstance(order, (int, np.integer)) or order < 1:
            raise ValueError(f"KneserNey: order must be a whole number above 0, got {order!r}")
        if not (discounts in ("one", "three") or 0 <= float(discounts) <= 1):
            raise ValueError(
                "KneserNey: discounts must be 'one', 'three' or a number from 0 to 1, "
                f"got {discounts!r}"
            )
        texts = [np.asarray(text) for text in texts]
        if not any((text < vocabulary).any() for text in texts):
            raise ValueError("KneserNey: the texts contain no symbol that is to be predicted")
        self.order, self.vocabulary = order, vocabulary
        self.boundary = max(vocabulary, *(int(text.max(initial=0)) + 1 for text in texts))
        self._count(*self._places(texts), discounts)

    def _places(self, texts):
        """Contexts (places, n - 1) and symbols (places,) wherever a symbol is predicted."""
        pad = np.full(self.order - 1, self.boundary)
        padded = np.concatenate([part for text in texts for part in (pad, text)] + [pad[:0]])
        starts = np.lib.stride_tricks.sliding_window_view(padded, self.order)
        windows = starts[starts[:, -1] < self.vocabulary]
        return windows[:, :-1], windows[:, -1].astype(np.int64)

    def _count(self, contexts, symbols, discounts):
        """Fill the tables of all orders.

        A context has a number among those of its length: `self.contexts[m]` is the
        sorted array of number of the context without its oldest symbol × (boundary + 1)
        + oldest symbol. A string is number of its context × V + last symbol, sorted in
        `self.strings[m]`; `self.counts[m]` says how often it occurs, and for orders
        below n after how many different symbols, which is how many strings one symbol
        longer end in it.
        """
        n, size = self.order, self.boundary + 1
        self.contexts, numbers = [np.zeros(1, np.int64)], np.zeros(len(symbols), np.int64)
        for m in range(2, n + 1):
            keys, numbers = np.unique(numbers * size + contexts[:, n - m], return_inverse=True)
            self.contexts.append(keys)
        strings, counts = np.unique(numbers * self.vocabulary + symbols, return_counts=True)
        self.strings, self.counts = [strings], [counts]
        for m in range(n, 1, -1):
            number, last = np.divmod(self.strings[0], self.vocabulary)
            shorter = self.contexts[m - 1][number] // size * self.vocabulary + last
            strings, counts = np.unique(shorter, return_counts=True)
            self.strings.insert(0, strings)
            self.counts.insert(0, counts)
        self.discounts = [estimate_discounts(counts, discounts) for counts in self.counts]
        self.totals, self.taken = [], []
        for strings, counts, discount in zip(self.strings, self.counts, self.discounts):
            number = strings // self.vocabulary
            self.totals.append(np.bincount(number, counts))
            self.taken.append(np.bincount(number, discount[np.minimum(counts, 3)]))

    def probability(self, contexts, symbols):
        """The probability of each symbol after its context.

        Parameters
        ----------
        contexts : array of int, shape (places, order - 1)
            The newest symbol last; the boundary where there is none.
        symbols : array of int, shape (places,)

        Returns
        -------
        numpy.ndarray of float64, shape (places,)
        """
        p = np.full(len(symbols), 1 / self.vocabulary)
        number, known = np.zeros(len(symbols), np.int64), np.ones(len(symbols), bool)
        for m in range(1, self.order + 1):
            if m > 1:
                longer = number * (self.boundary + 1) + contexts[:, self.order - m]
                number, found = find(self.contexts[m - 1], longer)
                known = known & found
            string, occurs = find(self.strings[m - 1], number * self.vocabulary + symbols)
            count = np.where(occurs, self.counts[m - 1][string], 0)
            rest = count - self.discounts[m - 1][np.minimum(count, 3)]
            total, taken = self.totals[m - 1][number], self.taken[m - 1][number]
            p = np.where(known, (rest + taken * p) / total, p)
        return p

    def distribution(self, text):
        """The probabilities of all symbols after a text.

        Parameters
        ----------
        text : sequence of int
            From its beginning: if it is short, the boundary counts as context.

        Returns
        -------
        numpy.ndarray of float64, shape (vocabulary,)
        """
        pad = np.full(self.order - 1, self.boundary)
        context = np.append(pad, np.asarray(text, np.int64))[len(text) :]
        contexts = np.broadcast_to(context, (self.vocabulary, self.order - 1))
        return self.probability(contexts, np.arange(self.vocabulary))

    def log_probabilities(self, texts):
        """ln p of every predicted symbol of the texts, given all before it.

        Parameters
        ----------
        texts : sequence of arrays of int

        Returns
        -------
        numpy.ndarray of float64, shape (places,)
            One text after the other. Symbols that are only read have no place in it;
            -inf where a symbol has probability 0.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.probability(*self._places([np.asarray(t) for t in texts])))


def find(keys, wanted):
    """Where in the sorted array `keys` each wanted value is, and whether it is there."""
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return place, keys[place] == wanted


def estimate_discounts(counts, discounts):
    """The discounts of counts 0, 1, 2, and 3 or more, as `KneserNey` explains them.

    Parameters
    ----------
    counts : array of int
        The counts of all strings of one order.
    discounts : "one", "three" or float

    Returns
    -------
    numpy.ndarray of float64, shape (4,)
    """
    if discounts not in ("one", "three"):
        return np.array([0, discounts, discounts, discounts], float)
    n = np.bincount(np.minimum(counts, 5), minlength=6)
    if not (n[1] and n[2]):
        return np.array([0, 0.5, 0.5, 0.5])
    d = n[1] / (n[1] + 2 * n[2])
    if discounts == "three" and n[3]:
        three = [k - (k + 1) * d * n[k + 1] / n[k] for k in (1, 2, 3)]
        if min(three) > 0:
            return np.array([0, *three])
    return np.array([0, d, d, d])


def perplexity(log_probabilities):
    """e to the mean of -ln p.

    Parameters
    ----------
    log_probabilities : array of float
        ln p of each symbol of a text; at least one.
    """
    log_probabilities = np.asarray(log_probabilities, np.float64)
    if not log_probabilities.size:
        raise ValueError("perplexity: no symbol at all; it needs at least one ln p")
    return float(np.exp(-log_probabilities.mean()))


def with_temperature(logits, temperature):
    """softmax(logits / temperature) along the last axis, in float64.

    Raises
    ------
    ValueError
        If the temperature is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"with_temperature: the temperature must be above 0, got {temperature!r}")
    z = np.asarray(logits, np.float64) / temperature
    z = np.exp(z - z.max(axis=-1, keepdims=True))
    return z / z.sum(axis=-1, keepdims=True)


def draw(probabilities, rng):
    """Draw a symbol from each row of probabilities.

    Parameters
    ----------
    probabilities : array of float, shape (..., symbols)
        Each row sums to 1.
    rng : numpy.random.Generator

    Returns
    -------
    numpy.ndarray of int64, shape (...)
        The first symbol at which the running sum exceeds a number drawn evenly from 0
        to 1.
    """
    running = np.cumsum(np.asarray(probabilities, np.float64), axis=-1)
    threshold = rng.random(running.shape[:-1])[..., None] * running[..., -1:]
    return (running <= threshold).sum(axis=-1)


class TiedLSTM:
    """The network of ``tools/train_text.py`` on the engine, to read and write, not to train.

    Embedding, LSTM, a dense layer back to the embedding's size; the logits are the
    products with the embedding vectors of the predicted symbols, plus a bias.

    Parameters
    ----------
    run : dict of str to numpy.ndarray
        What `dlbook.load_run` returns for "tang" or "moby".
    dtype : str
        "float64" for samples that are the same on every machine.
    """

    def __init__(self, run, dtype="float32"):
        (symbols, width), (units, _) = run["embeddings"].shape, run["recurrent_kernel"].shape
        options = {"rng": np.random.default_rng(0), "dtype": dtype}
        self.embedding = Embedding(symbols, width, **options)
        self.lstm = LSTM(width, units, return_sequences=True, return_state=True, **options)
        self.dense = Dense(units, width, **options)
        names = "embeddings kernel recurrent_kernel bias dense_kernel dense_bias".split()
        layers = self.embedding, self.lstm, self.dense
        tensors = [tensor for layer in layers for tensor in layer.parameters]
        for tensor, name in zip(tensors, names, strict=True):
            if tensor.shape != run[name].shape:
                raise ValueError(
                    f"TiedLSTM: {name} has shape {run[name].shape}, expected {tensor.shape}"
                )
            tensor.data = run[name].astype(dtype)
        self.output_bias = run["output_bias"].astype(dtype)

    def states(self, inputs, state=None):
        """Read symbols (rows, steps); return h (rows, steps, units) and the last state."""
        with no_grad():
            h, *state = self.lstm(self.embedding(inputs), initial_state=state)
        return h.data, state

    def logits(self, h):
        """From h (places, units) to logits (places, vocabulary)."""
        with no_grad():
            back = self.dense(h).data
        return back @ self.embedding.embeddings.data[: len(self.output_bias)].T + self.output_bias

    def log_probabilities(self, inputs, targets, batch=64):
        """ln p of every target of rows made by `cut`, in their order; shape (places,)."""
        found = []
        for start in range(0, len(inputs), batch):
            labels = targets[start : start + batch]
            h, _ = self.states(inputs[start : start + batch])
            z = self.logits(h[labels >= 0])
            z -= z.max(axis=1, keepdims=True)
            labels = labels[labels >= 0]
            found.append(z[np.arange(len(z)), labels] - np.log(np.exp(z).sum(axis=1)))
        return np.concatenate(found)

    def write(self, template, rows, temperature, rng):
        """Write texts, one symbol after the other.

        Parameters
        ----------
        template : sequence of int
            The symbols of a text; -1 where the network draws one. It begins with a
            symbol that is given. `UNKNOWN` is never drawn.
        rows : int
            How many texts to write side by side.
        temperature : float
        rng : numpy.random.Generator

        Returns
        -------
        numpy.ndarray of int64, shape (rows, len(template))
        """
        if not len(template) or template[0] < 0:
            raise ValueError("write: the template must begin with a symbol that is given")
        texts, state = np.tile(np.asarray(template, np.int64), (rows, 1)), None
        for place in range(1, len(template)):
            h, state = self.states(texts[:, place - 1 : place], state)
            if template[place] < 0:
                z = self.logits(h[:, 0])
                z[:, 0] = -np.inf
                texts[:, place] = draw(with_temperature(z, temperature), rng)
        return texts
