"""Layers, losses and the training loop, built from the operations of `dlbook.tensor`.

Names, argument order and defaults are those of Keras, so that a model here and its twin there can share weights.
Arrays are ``(batch, features)``; a dense kernel is ``(inputs, outputs)``. Layers for images are in
`dlbook.convolution`, layers for sequences in `dlbook.recurrent`.
"""

import numpy as np
from dlbook.tensor import Tensor, as_tensor, gelu, no_grad, operation, relu, sigmoid, softmax, tanh

ACTIVATIONS = {"relu": relu, "gelu": gelu, "sigmoid": sigmoid, "tanh": tanh, "softmax": softmax}


def fans(shape):
    """Return fan-in and fan-out of a kernel of `shape` (inputs, outputs), or of a convolution's (height, width, inputs, outputs)."""
    taps = int(np.prod(shape[:-2]))
    return taps * shape[-2], taps * shape[-1]


def glorot_uniform(shape, rng):
    """Uniform on ±sqrt(6 / (fan-in + fan-out)): Glorot & Bengio (2010), equation 16. `shape` as for `fans`."""
    limit = np.sqrt(6 / sum(fans(shape)))
    return rng.uniform(-limit, limit, shape)


def he_uniform(shape, rng):
    """Uniform on ±sqrt(6 / fan-in), variance 2 / fan-in: He et al. (2015), equation 10. `shape` as for `fans`."""
    limit = np.sqrt(6 / fans(shape)[0])
    return rng.uniform(-limit, limit, shape)


def orthogonal(shape, rng):
    """Orthonormal columns, or rows if these are fewer: Saxe et al. (2014), section 3.

    Multiplying by a square one keeps the length of every vector. `shape` is
    (inputs, outputs).
    """
    inputs, outputs = shape
    q, r = np.linalg.qr(rng.standard_normal((max(shape), min(shape))))
    q *= np.sign(np.diag(r))  # without this some directions would be likelier than others
    return q if inputs >= outputs else q.T


def uniform(shape, rng):
    """Uniform on ±0.05, whatever the shape: Keras's choice for embeddings."""
    return rng.uniform(-0.05, 0.05, shape)


INITIALIZERS = {
    "glorot_uniform": glorot_uniform,
    "he_uniform": he_uniform,
    "orthogonal": orthogonal,
    "uniform": uniform,
}


def _named(table, name, what):
    """Look `name` up in `table`; a function stands for itself."""
    if callable(name):
        return name
    if name not in table:
        raise ValueError(
            f"unknown {what} {name!r}; known are {', '.join(table)}, or pass a function"
        )
    return table[name]


class Dense:
    """A fully connected layer: ``activation(x @ kernel + bias)``.

    Parameters
    ----------
    inputs, outputs : int
        Sizes of the last axis before and after.
    activation : str, callable or None
        A name in `ACTIVATIONS`, a function of a Tensor, or None for a linear layer.
    kernel_initializer : str or callable
        A name in `INITIALIZERS` or a function ``(shape, rng) -> array``. The bias starts at zero.
    rng : numpy.random.Generator
        Where the initial weights come from.
    dtype : str
        "float32" to train, "float64" to check gradients.
    """

    def __init__(
        self,
        inputs,
        outputs,
        activation=None,
        *,
        kernel_initializer="glorot_uniform",
        rng,
        dtype="float32",
    ):
        self.activation = (
            None if activation is None else _named(ACTIVATIONS, activation, "activation")
        )
        initializer = _named(INITIALIZERS, kernel_initializer, "initializer")
        self.kernel = Tensor(initializer((inputs, outputs), rng).astype(dtype), requires_grad=True)
        self.bias = Tensor(np.zeros(outputs, dtype), requires_grad=True)
        self.parameters = [self.kernel, self.bias]

    def __call__(self, x):
        """Map a Tensor of shape (..., inputs) to one of shape (..., outputs)."""
        inputs, outputs = self.kernel.shape
        if x.ndim < 2 or x.shape[-1] != inputs:
            raise ValueError(
                f"Dense({inputs}, {outputs}) expects shape (batch, ..., {inputs}), got {x.shape}"
            )
        rows = x if x.ndim == 2 else x.reshape(-1, inputs)  # one product for all steps
        z = rows @ self.kernel + self.bias
        z = z if x.ndim == 2 else z.reshape(*x.shape[:-1], outputs)
        return z if self.activation is None else self.activation(z)


def call(layer, x, training, mask=None):
    """Apply a layer or model; say whether this is training, and the mask, if it asks."""
    options = {}
    if getattr(layer, "has_training_mode", False):
        options["training"] = training
    if getattr(layer, "takes_mask", False):
        options["mask"] = mask
    return layer(x, **options)


def call_with_mask(layer, x, training, mask):
    """Apply a layer; return the output and its mask, x's own without `compute_mask`."""
    if isinstance(layer, Sequential):
        for inner in layer.layers:
            x, mask = call_with_mask(inner, x, training, mask)
        return x, mask
    compute_mask = getattr(layer, "compute_mask", lambda x, mask: mask)
    return call(layer, x, training, mask), compute_mask(x, mask)


def weights_of(layer):
    """The layer's arrays: its `weights` if it has any that are not trained, otherwise its `parameters`."""
    return getattr(layer, "weights", getattr(layer, "parameters", []))


class Sequential:
    """Layers applied one after the other.

    A layer is any function of a Tensor. Its `parameters`, if any, are trained; `weights` are these and whatever else
    it keeps, such as running means. A layer with ``has_training_mode = True`` is also told whether this is training.

    As in Keras, a mask that one layer makes (``compute_mask(x, mask) -> mask or None``) goes past the following ones to
    every layer with ``takes_mask = True``; `dlbook.recurrent` has both kinds. A block that is not a Sequential, such
    as `dlbook.convolution.Residual`, does not pass it on to the layers inside.
    """

    has_training_mode = True
    takes_mask = True

    def __init__(self, layers):
        self.layers = list(layers)
        self.parameters = [
            parameter for layer in self.layers for parameter in getattr(layer, "parameters", [])
        ]
        self.weights = [weight for layer in self.layers for weight in weights_of(layer)]

    def __call__(self, x, training=False, mask=None):
        return call_with_mask(self, as_tensor(x), training, mask)[0]

    def count_params(self):
        """Number of all weights; as in Keras, running means count."""
        return sum(weight.size for weight in self.weights)

    def get_weights(self):
        """Copies of all weights, in the order of Keras's `get_weights`: layer by layer, kernel before bias."""
        return [weight.data.copy() for weight in self.weights]

    def set_weights(self, weights):
        """Overwrite all weights with copies of `weights`, for example those of a Keras model with the same layers."""
        shapes, expected = (
            [np.shape(array) for array in weights],
            [weight.shape for weight in self.weights],
        )
        if shapes != expected:
            raise ValueError(f"set_weights: expected arrays of shapes {expected}, got {shapes}")
        for weight, array in zip(self.weights, weights):
            weight.data = np.array(array, dtype=weight.dtype)


def mean_squared_error(predictions, targets):
    """Mean over all elements of (predictions - targets)². Both have the same shape; the result is a scalar Tensor."""
    targets = as_tensor(targets)
    if predictions.shape != targets.shape:
        raise ValueError(
            f"mean_squared_error: predictions have shape {predictions.shape}, targets {targets.shape}"
        )
    return ((predictions - targets) ** 2).mean()


def cross_entropy(logits, labels):
    """Mean over the batch of -log softmax(logits)[label].

    One operation rather than a chain of log, exp and sum: the logarithm and the
    exponential cancel, so that no intermediate value overflows, and the gradient is
    (softmax(logits) - one_hot(labels)) / batch.

    Parameters
    ----------
    logits : Tensor, shape (batch, classes)
    labels : array of int, shape (batch,)
        The true class of each example, 0 to classes - 1.
    """
    labels = np.asarray(labels)
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            "cross_entropy expects logits (batch, classes) and labels (batch,), "
            f"got {logits.shape} and {labels.shape}"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(
            f"cross_entropy expects integer class numbers, got dtype {labels.dtype}; "
            "turn one-hot rows into numbers with .argmax(axis=-1)"
        )
    batch, classes = logits.shape
    if batch == 0:
        raise ValueError("cross_entropy: the batch is empty; it needs at least one row")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"cross_entropy: labels must be in 0..{classes - 1}, got {labels.min()}..{labels.max()}"
        )
    rows = np.arange(batch)
    shifted = logits.data - logits.data.max(axis=1, keepdims=True)
    log_sum_exp = np.log(np.exp(shifted).sum(axis=1, keepdims=True))

    def vjp(g):
        gradient = np.exp(shifted - log_sum_exp)  # softmax(logits)
        gradient[rows, labels] -= 1
        return gradient * (g / batch)

    return operation((log_sum_exp[:, 0] - shifted[rows, labels]).mean(), (logits, vjp))


def accuracy(logits, labels):
    """Share of rows whose largest logit is that of the label. `logits` (batch, classes), `labels` (batch,): NumPy arrays."""
    return float((logits.argmax(axis=-1) == labels).mean())


def predict(model, inputs, batch_size=1024):
    """The model's outputs for `inputs` as one NumPy array, computed in batches and without keeping the graph."""
    with no_grad():
        return np.concatenate(
            [
                model(inputs[start : start + batch_size]).data
                for start in range(0, len(inputs), batch_size)
            ]
        )


def fit(
    model,
    inputs,
    targets,
    *,
    loss,
    optimizer,
    epochs,
    batch_size=32,
    rng=None,
    metric=None,
    validation_data=None,
    on_epoch_end=None,
):
    """Train: in every epoch, for every mini-batch, predict, measure the loss, go backward, update.

    Parameters
    ----------
    model : callable with `parameters`
    inputs, targets : numpy.ndarray
        Examples along the first axis.
    loss : callable
        ``(outputs, targets) -> scalar Tensor``, such as `cross_entropy`.
    optimizer : dlbook.optim.SGD or Adam
        Made with the model's parameters.
    rng : numpy.random.Generator or None
        Shuffles the examples before each epoch; None keeps their order.
    metric : callable or None
        ``(outputs, targets) -> float`` on NumPy arrays, such as `accuracy`.
    validation_data : (inputs, targets) or None
        Measured after each epoch, never trained on.
    on_epoch_end : callable or None
        Called as ``on_epoch_end(epoch, logs)`` with the epoch's values, for example `dlbook.Progress`'s.

    Returns
    -------
    dict of lists, one value an epoch: "loss" (mean over the epoch while the weights change, as Keras reports it) and,
    where asked for, the metric's name, "val_loss" and "val_" + the metric's name.
    """
    if len(inputs) != len(targets):
        raise ValueError(f"fit: {len(inputs)} inputs but {len(targets)} targets")
    history = {}

    def note(name, value):
        history.setdefault(name, []).append(float(value))

    for epoch in range(epochs):
        order = np.arange(len(inputs)) if rng is None else rng.permutation(len(inputs))
        total_loss = total_metric = 0.0
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            batch_targets = targets[chosen]
            outputs = call(model, inputs[chosen], training=True)
            batch_loss = loss(outputs, batch_targets)
            optimizer.zero_grad()
            batch_loss.backward()
            optimizer.step()
            total_loss += float(batch_loss.data) * len(chosen)
            if metric is not None:
                total_metric += metric(outputs.data, batch_targets) * len(chosen)
        note("loss", total_loss / len(order))
        if metric is not None:
            note(metric.__name__, total_metric / len(order))
        if validation_data is not None:
            outputs = predict(model, validation_data[0])
            note("val_loss", loss(Tensor(outputs), validation_data[1]).data)
            if metric is not None:
                note("val_" + metric.__name__, metric(outputs, validation_data[1]))
        if on_epoch_end is not None:
            on_epoch_end(epoch, {name: values[-1] for name, values in history.items()})
    return history
