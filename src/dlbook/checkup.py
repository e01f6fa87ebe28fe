"""Four questions to a classifier before it is trained in earnest, each answered in a second.

Is its first loss that of a guess? Can it learn a single batch by heart? Does the gradient reach every layer? Do its
units answer different inputs differently? The models are those of `dlbook.nn`.

Reference: A. Karpathy, *A recipe for training neural networks* (2019), karpathy.github.io/2019/04/25/recipe; the book's
chapter "Questions and answers".
"""

import numpy as np
from dlbook.nn import call, call_with_mask, cross_entropy
from dlbook.tensor import as_tensor, no_grad


def _batch(inputs, labels):
    """Refuse a batch that is empty, or whose halves have different lengths."""
    if len(inputs) != len(labels) or len(inputs) == 0:
        raise ValueError(
            f"checkup: {len(inputs)} inputs and {len(labels)} labels; expected as many, at least one"
        )
    return labels


def initial_loss(model, inputs, labels):
    """The cross-entropy before training, and that of a guess among all classes alike.

    A network that knows nothing should give every class about the same probability, so that its loss is
    ln(classes). Far more means that it begins sure and wrong: inputs or weights are too large.

    Parameters
    ----------
    model : Sequential
        From inputs to logits (batch, classes). It is not changed.
    inputs : numpy.ndarray, examples along the first axis
    labels : numpy.ndarray of int, shape (batch,)

    Returns
    -------
    float, float
        Loss and ln(classes), in nats.
    """
    with no_grad():
        logits = call(model, as_tensor(inputs), training=False)
        loss = cross_entropy(logits, _batch(inputs, labels))
    return float(loss.data), float(np.log(logits.shape[1]))


def overfit_batch(model, inputs, labels, optimizer, updates=200):
    """Train on one batch again and again; a network that works learns it by heart.

    Parameters
    ----------
    model : Sequential
        It *is* changed: make a new one afterwards.
    inputs, labels
        As in `initial_loss`; a few dozen examples.
    optimizer : dlbook.optim.SGD or Adam
        Made with the model's parameters.
    updates : int

    Returns
    -------
    list of float
        The loss before each update and after the last, `updates` + 1 numbers.
    """
    _batch(inputs, labels)
    losses = []
    for update in range(updates + 1):
        loss = cross_entropy(call(model, as_tensor(inputs), training=True), labels)
        losses.append(float(loss.data))
        if update < updates:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return losses


def gradient_sizes(model, inputs, labels):
    """The root mean square of the gradient with respect to each layer's kernel.

    Equal sizes are not to be expected, but a layer that gets a thousandth of what another gets hardly learns.

    Parameters
    ----------
    model : Sequential
        Its weights are not changed; gradients that it holds are forgotten.
    inputs, labels
        As in `initial_loss`.

    Returns
    -------
    list of float
        For each layer that has parameters, first layer first; 0 where no gradient arrives.
    """
    for parameter in model.parameters:
        parameter.grad = None
    cross_entropy(call(model, as_tensor(inputs), training=True), _batch(inputs, labels)).backward()
    kernels = [layer.parameters[0] for layer in model.layers if getattr(layer, "parameters", [])]
    sizes = [
        0.0
        if kernel.grad is None
        else float(np.sqrt(np.mean(np.square(kernel.grad, dtype="float64"))))
        for kernel in kernels
    ]
    for parameter in model.parameters:
        parameter.grad = None
    return sizes


def silent_units(model, inputs):
    """The share of units in each hidden layer that answer all inputs with the same number.

    For a layer of ReLUs these are the dead ones, which also let no gradient through.

    Parameters
    ----------
    model : Sequential
        It is not changed. Its last layer, the output, is not looked at.
    inputs : numpy.ndarray, shape (batch, ...)
        At least two examples.

    Returns
    -------
    list of float
        For each hidden layer with an activation function, first layer first; units of a feature map count together.
    """
    if len(inputs) < 2:
        raise ValueError(f"silent_units: expected at least two examples, got {len(inputs)}")
    shares, x, mask = [], as_tensor(inputs), None
    with no_grad():
        for layer in model.layers[:-1]:
            x, mask = call_with_mask(layer, x, False, mask)
            if getattr(layer, "activation", None) is not None:
                rows = x.data.reshape(-1, x.shape[-1])
                shares.append(float((np.ptp(rows, axis=0) == 0).mean()))
    return shares
