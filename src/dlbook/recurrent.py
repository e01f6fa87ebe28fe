"""Recurrent layers, embeddings and masks for `dlbook.nn.Sequential`, and a network over trees.

Names, argument order, defaults and the order of the gates are those of Keras, so that a
layer here and its twin there can share weights. Sequences are ``(batch, steps, features)``.
A mask is an array of bool of shape ``(batch, steps)``, False where a sequence has no step:
shorter sequences of a batch are filled up to the longest one.

No layer here has a backward pass. A recurrent layer applies the same operations again and
again; `Tensor.backward` follows them back through all steps, and through time it is then
called *backpropagation through time*.

References: J. L. Elman, *Finding structure in time* (Cognitive Science 14, 1990); the
book's chapter "Recurrent networks".
"""

import numpy as np
from dlbook.nn import ACTIVATIONS, INITIALIZERS, Dense, _named, cross_entropy
from dlbook.tensor import (
    Tensor,
    as_tensor,
    concatenate,
    gather,
    split,
    stack,
    unstack,
    where,
)


class Recurrent:
    """What `SimpleRNN`, `LSTM` and `GRU` have in common: the walk along the sequence.

    A layer of this kind adds `step`, which computes the new state from the old one and
    the input of one time step. The first array of the state is also the output.

    Parameters
    ----------
    inputs, units : int
        Features of each step before and after.
    kernel_initializer, recurrent_initializer : str or callable
        A name in `dlbook.nn.INITIALIZERS` or a function ``(shape, rng) -> array``.
    return_sequences : bool
        Whether to return the output of every step rather than of the last one.
    return_state : bool
        Whether to return ``(output, *state)``, with the state after the last step.
    rng : numpy.random.Generator
        Where the initial weights come from.
    dtype : str
        "float32" to train, "float64" to check gradients.

    Attributes
    ----------
    kernel : Tensor, shape (inputs, blocks · units)
    recurrent_kernel : Tensor, shape (units, blocks · units)
    bias : Tensor, shape (blocks · units,)
    """

    takes_mask = True
    blocks = 1  # parts of the kernels, side by side: one for each gate and for the candidate
    states = 1  # arrays of shape (batch, units) that go from step to step

    def __init__(
        self,
        inputs,
        units,
        *,
        kernel_initializer="glorot_uniform",
        recurrent_initializer="orthogonal",
        return_sequences=False,
        return_state=False,
        rng,
        dtype="float32",
    ):
        self.inputs, self.units = positive(inputs, "inputs"), positive(units, "units")
        self.return_sequences, self.return_state = return_sequences, return_state
        kernel, recurrent = (
            _named(INITIALIZERS, name, "initializer")
            for name in (kernel_initializer, recurrent_initializer)
        )
        width = self.blocks * units
        self.kernel = Tensor(kernel((inputs, width), rng).astype(dtype), requires_grad=True)
        self.recurrent_kernel = Tensor(
            recurrent((units, width), rng).astype(dtype), requires_grad=True
        )
        self.bias = Tensor(np.zeros(width, dtype), requires_grad=True)
        self.parameters = [self.kernel, self.recurrent_kernel, self.bias]

    def project(self, x):
        """Multiply the inputs of all steps by the kernel at once: one Tensor a step."""
        batch, steps, inputs = x.shape
        z = x.reshape(batch * steps, inputs) @ self.kernel + self.input_bias()
        return unstack(z.reshape(batch, steps, z.shape[1]), axis=1)

    def input_bias(self):
        """The bias that does not depend on the state."""
        return self.bias

    def __call__(self, x, initial_state=None, mask=None):
        """Walk along the sequences.

        Parameters
        ----------
        x : Tensor, shape (batch, steps, inputs)
        initial_state : sequence of Tensor, each of shape (batch, units), or None
            None is zeros.
        mask : array of bool, shape (batch, steps), or None
            Where it is False, the state stays as it was.

        Returns
        -------
        Tensor, shape (batch, units), or (batch, steps, units) with `return_sequences`;
        with `return_state` a tuple of this and the final state.
        """
        x = as_tensor(x)
        state = self.check(x, initial_state, mask)
        outputs = []
        for t, projected in enumerate(self.project(x)):
            new = self.step(projected, state)
            if mask is not None:
                new = [where(mask[:, t, None], a, b) for a, b in zip(new, state)]
            state = new
            outputs.append(state[0])
        output = stack(outputs, axis=1) if self.return_sequences else state[0]
        return (output, *state) if self.return_state else output

    def check(self, x, initial_state, mask):
        """Refuse arrays of wrong shapes, and return the initial state as a list."""
        name = type(self).__name__
        if x.ndim != 3 or x.shape[1] == 0 or x.shape[2] != self.inputs:
            raise ValueError(
                f"{name}({self.inputs}, {self.units}) expects shape (batch, steps, {self.inputs}) "
                f"with at least one step, got {x.shape}"
            )
        if mask is not None and np.shape(mask) != x.shape[:2]:
            raise ValueError(
                f"{name}: the mask has shape {np.shape(mask)}, expected {x.shape[:2]}: "
                "one bool for each step of each sequence"
            )
        shape = x.shape[0], self.units
        if initial_state is None:
            return [Tensor(np.zeros(shape, self.kernel.dtype)) for _ in range(self.states)]
        if isinstance(initial_state, Tensor):
            initial_state = [initial_state]
        initial_state = [as_tensor(array) for array in initial_state]
        if [array.shape for array in initial_state] != [shape] * self.states:
            raise ValueError(
                f"{name}: initial_state has shapes {[array.shape for array in initial_state]}, "
                f"expected {[shape] * self.states}"
            )
        return initial_state

    def compute_mask(self, x, mask):
        """The mask of the output: none if there is only one output for each sequence."""
        return mask if self.return_sequences else None


class SimpleRNN(Recurrent):
    """Elman's recurrent layer: h ← activation(x W + h U + b).

    Parameters
    ----------
    activation : str or callable
        A name in `dlbook.nn.ACTIVATIONS` or a function of a Tensor.
    inputs, units, **options
        As in `Recurrent`.
    """

    def __init__(self, inputs, units, activation="tanh", **options):
        super().__init__(inputs, units, **options)
        self.activation = _named(ACTIVATIONS, activation, "activation")

    def step(self, projected, state):
        """`projected` is x W + b of this step."""
        (h,) = state
        return [self.activation(projected + h @ self.recurrent_kernel)]


class LSTM(Recurrent):
    """Long short-term memory: a cell c that is changed by addition, and three gates.

    The blocks of both kernels and of the bias are input gate, forget gate, candidate,
    output gate, in this order. The state is [h, c].

    Parameters
    ----------
    activation, recurrent_activation : str or callable
        Of candidate and cell, and of the gates.
    unit_forget_bias : bool
        Start the forget gate's bias at 1, so that at first the cell keeps its content
        (R. Jozefowicz et al., ICML 2015).
    inputs, units, **options
        As in `Recurrent`.

    References
    ----------
    S. Hochreiter and J. Schmidhuber, *Long short-term memory* (Neural Computation 9,
    1997); the forget gate: F. A. Gers et al., *Learning to forget* (Neural Computation
    12, 2000).
    """

    blocks = 4
    states = 2

    def __init__(
        self,
        inputs,
        units,
        activation="tanh",
        recurrent_activation="sigmoid",
        *,
        unit_forget_bias=True,
        **options,
    ):
        super().__init__(inputs, units, **options)
        self.activation = _named(ACTIVATIONS, activation, "activation")
        self.gate = _named(ACTIVATIONS, recurrent_activation, "activation")
        if unit_forget_bias:
            self.bias.data[units : 2 * units] = 1

    def step(self, projected, state):
        """`projected` is x W + b of this step, for all four blocks."""
        h, c = state
        z = projected + h @ self.recurrent_kernel
        i, f, candidate, o = split(z, 4, axis=1)
        c = self.gate(f) * c + self.gate(i) * self.activation(candidate)
        h = self.gate(o) * self.activation(c)
        return [h, c]


class GRU(Recurrent):
    """Gated recurrent unit: one gate z mixes the old state with a candidate.

    The blocks of both kernels and of the bias are update gate z, reset gate r and
    candidate, in this order. The state is [h].

    Parameters
    ----------
    activation, recurrent_activation : str or callable
        Of the candidate, and of the gates.
    reset_after : bool
        Whether the reset gate acts after the product with the recurrent kernel. Then
        this product has a bias of its own, and `bias` has shape (2, 3 · units): that of
        the input, that of the state.
    inputs, units, **options
        As in `Recurrent`.

    References
    ----------
    K. Cho et al., *Learning phrase representations using RNN encoder-decoder for
    statistical machine translation* (EMNLP 2014): ``reset_after=False``.
    """

    blocks = 3

    def __init__(
        self,
        inputs,
        units,
        activation="tanh",
        recurrent_activation="sigmoid",
        *,
        reset_after=True,
        **options,
    ):
        super().__init__(inputs, units, **options)
        self.activation = _named(ACTIVATIONS, activation, "activation")
        self.gate = _named(ACTIVATIONS, recurrent_activation, "activation")
        self.reset_after = reset_after
        if reset_after:
            self.bias.data = np.zeros((2, 3 * units), self.bias.dtype)

    def input_bias(self):
        return unstack(self.bias)[0] if self.reset_after else self.bias

    def step(self, projected, state):
        """`projected` is x W + b of this step, for all three blocks."""
        (h,) = state
        x_z, x_r, x_candidate = split(projected, 3, axis=1)
        if self.reset_after:
            product = h @ self.recurrent_kernel + unstack(self.bias)[1]
            h_z, h_r, h_candidate = split(product, 3, axis=1)
            z, r = self.gate(x_z + h_z), self.gate(x_r + h_r)
            candidate = self.activation(x_candidate + r * h_candidate)
        else:
            u_z, u_r, u_candidate = split(self.recurrent_kernel, 3, axis=1)
            z, r = self.gate(x_z + h @ u_z), self.gate(x_r + h @ u_r)
            candidate = self.activation(x_candidate + (r * h) @ u_candidate)
        return [z * h + (1 - z) * candidate]


class Embedding:
    """A learnt vector for each of `input_dim` symbols.

    Parameters
    ----------
    input_dim : int
        Number of symbols, which are 0 to input_dim - 1.
    output_dim : int
        Length of the vectors.
    embeddings_initializer : str or callable
        A name in `dlbook.nn.INITIALIZERS` or a function ``(shape, rng) -> array``.
    mask_zero : bool
        Whether symbol 0 only fills up short sequences: the following layers then get a
        mask that is False there.
    rng, dtype
        As in `Recurrent`.
    """

    def __init__(
        self,
        input_dim,
        output_dim,
        embeddings_initializer="uniform",
        *,
        mask_zero=False,
        rng,
        dtype="float32",
    ):
        shape = positive(input_dim, "input_dim"), positive(output_dim, "output_dim")
        initializer = _named(INITIALIZERS, embeddings_initializer, "initializer")
        self.embeddings = Tensor(initializer(shape, rng).astype(dtype), requires_grad=True)
        self.mask_zero = mask_zero
        self.parameters = [self.embeddings]

    def __call__(self, x):
        """Map whole numbers of shape (batch, ...) to vectors (batch, ..., output_dim)."""
        return gather(self.embeddings, as_tensor(x).data)

    def compute_mask(self, x, mask):
        return as_tensor(x).data != 0 if self.mask_zero else None


class Masking:
    """Mark the steps at which every feature is `mask_value`: later layers skip them."""

    def __init__(self, mask_value=0.0):
        self.mask_value = mask_value

    def __call__(self, x):
        """Return x with zeros at the marked steps, as Keras does."""
        return x * self.compute_mask(x)[..., None].astype(x.dtype)

    def compute_mask(self, x, mask=None):
        return (as_tensor(x).data != self.mask_value).any(axis=-1)


def sequence_cross_entropy(logits, labels, ignore_class=None):
    """Mean of -log softmax(logits)[label] over all steps of all sequences that count.

    Parameters
    ----------
    logits : Tensor, shape (batch, steps, classes)
    labels : array of int, shape (batch, steps)
        The true class of each step.
    ignore_class : int or None
        Steps with this label do not count, and their logits get no gradient. With a
        mask, write ``np.where(mask, labels, -1)`` and ignore class -1.

    Raises
    ------
    ValueError
        If the shapes do not belong together, a label is out of range, or no step
        counts.
    """
    labels = np.asarray(labels)
    if logits.ndim != 3 or labels.shape != logits.shape[:2]:
        raise ValueError(
            "sequence_cross_entropy expects logits (batch, steps, classes) and labels "
            f"(batch, steps), got {logits.shape} and {labels.shape}"
        )
    logits, labels = logits.reshape(labels.size, logits.shape[2]), labels.ravel()
    if ignore_class is not None:
        (counted,) = np.nonzero(labels != ignore_class)
        if not len(counted):
            raise ValueError(
                f"sequence_cross_entropy: every label is {ignore_class}, "
                "the class to ignore; at least one step has to count"
            )
        logits, labels = gather(logits, counted), labels[counted]
    return cross_entropy(logits, labels)


class TreeNetwork:
    """A recursive network: a node's vector is computed from those of its children.

    The same two layers do this at every node of every tree. A tree is a symbol (a leaf),
    or a tuple ``(symbol, left, right)``. All nodes of one height, whatever trees of the
    batch they stand in, are computed together: the number of steps is the height of the
    highest tree.

    Parameters
    ----------
    leaves, operators : sequence
        The symbols that stand at leaves and at inner nodes.
    width : int
        Length of the vectors.
    outputs : int
        Length of the result for each tree, computed from the vector of its root.
    hidden : int
        Units of the hidden layer between children and parent.
    rng, dtype
        As in `Recurrent`.

    References
    ----------
    J. B. Pollack, *Recursive distributed representations* (Artificial Intelligence 46,
    1990).
    """

    def __init__(self, leaves, operators, width, outputs, *, hidden, rng, dtype="float32"):
        self.numbers = {symbol: i for i, symbol in enumerate([*leaves, *operators])}
        self.leaves, self.operators = set(leaves), set(operators)
        options = {"rng": rng, "dtype": dtype}
        self.symbols = Embedding(len(self.numbers), width, "glorot_uniform", **options)
        self.inside = Dense(3 * width, hidden, "relu", kernel_initializer="he_uniform", **options)
        self.outside = Dense(hidden, width, "tanh", **options)
        self.readout = Dense(width, outputs, **options)
        self.parameters = [
            parameter
            for layer in (self.symbols, self.inside, self.outside, self.readout)
            for parameter in layer.parameters
        ]

    def __call__(self, trees):
        """Map a sequence of trees to a Tensor of shape (trees, outputs)."""
        if len(trees) == 0:
            raise ValueError("TreeNetwork: the batch is empty; it needs at least one tree")
        levels, roots = self.levels(trees)
        vectors = self.symbols(levels[0])
        for symbols, left, right in levels[1:]:
            parts = [self.symbols(symbols), gather(vectors, left), gather(vectors, right)]
            parents = self.outside(self.inside(concatenate(parts, axis=1)))
            vectors = concatenate([vectors, parents])
        return self.readout(gather(vectors, roots))

    def levels(self, trees):
        """Number all nodes level by level, from the leaves up to the highest root.

        Returns
        -------
        list
            First the symbols of the leaves; then for each level three arrays: the
            symbols of its nodes and the numbers of their left and right children.
        array of int
            The numbers of the roots.
        """
        # for each height its nodes: [symbol, left, right], children as (height, place)
        levels = [[]]

        def visit(tree):
            symbol, *children = self.check(tree)
            node = [symbol, *map(visit, children)]
            height = 1 + max((child[0] for child in node[1:]), default=-1)
            if height == len(levels):
                levels.append([])
            levels[height].append(node)
            return height, len(levels[height]) - 1

        roots = [visit(tree) for tree in trees]
        starts = np.cumsum([0, *(len(level) for level in levels)])

        def number(places):
            return np.array([starts[height] + place for height, place in places], int)

        arrays = []
        for height, level in enumerate(levels):
            symbols, *children = zip(*level)
            symbols = np.array([self.numbers[symbol] for symbol in symbols])
            arrays.append((symbols, *map(number, children)) if height else symbols)
        return arrays, number(roots)

    def check(self, tree):
        """Return a tree's symbol and children as a tuple, if they are what they must be."""
        node = tree if isinstance(tree, tuple) else (tree,)
        if len(node) not in (1, 3):
            raise ValueError(
                f"TreeNetwork: expected a leaf or (operator, left, right), got {tree!r}"
            )
        kind, symbols = ("operators", self.operators) if len(node) == 3 else ("leaves", self.leaves)
        if node[0] not in symbols:
            raise ValueError(
                f"TreeNetwork: {node[0]!r} is not one of its {kind}; known are {list(self.numbers)}"
            )
        return node


def positive(value, name):
    """Return `value` if it is a whole number above 0."""
    if not isinstance(value, (int, np.integer)) or value <= 0:
        raise ValueError(f"{name}: expected a whole number above 0, got {value!r}")
    return value
