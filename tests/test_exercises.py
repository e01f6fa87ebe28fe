"""The exercise notebooks, graded by nbgrader itself: released, filled in, autograded, and the grade book read.

Grading runs the code of a notebook. Here that code is the book's own: the stubs, the solutions, and solutions with a
mistake put in. Code that students hand in is not to be trusted. nbgrader runs it as the user who started nbgrader, who
can read and write the grade book and the hidden tests. Grade real submissions in a container, or under another
account, that has no network and sees nothing but the course directory; nothing here or in tools/assignments.py is a
sandbox.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbgrader.nbgraderformat import MetadataValidator
from nbgrader.validator import Validator

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import assignments  # noqa: E402

pytestmark = pytest.mark.filterwarnings(
    "ignore:Object of type <Submitted:sqlalchemy.exc.SAWarning"
)  # nbgrader's own affair

SOURCES = {path.stem: path for path in sorted((ROOT / "notebooks" / "exercises").glob("*/*.ipynb"))}
assert SOURCES, "there is no exercise notebook"

# Mistakes that hidden tests must find: for each autograded exercise (part of its solution, what replaces it).
# The first mistake in an exercise that computes a gradient or a step along one is a wrong sign.
MISTAKES = {
    "01-history": {
        "parity": [
            ("1, -1)", "-1, 1)"),
            ("np.where(numbers % 2 == 1, 1, -1)", "np.array([1, -1, 1] + [0] * n)[:n]"),
        ],
        "visit": [
            ("weights += sign * x", "weights -= sign * x"),
            ("<= 0", "< 0"),  # never leaves zero
            ('np.array(weights, "float64")', "weights"),  # changes the caller's
            ("sign * (x @ weights) <= 0", "sign * (x @ weights) <= 1"),
        ],
        "bound": [
            ("margin <= 0", "margin < 0"),
            (" / np.linalg.norm(direction)", ""),
            (".max() / margin", ".mean() / margin"),
            ("signs * (inputs", "abs(inputs"),
        ],
        "table": [
            (">= threshold", "> threshold"),
            ("repeat=len(weights))))", "repeat=len(weights))))[:, ::-1]"),
        ],
        "count": [
            ("return len(found)", "return 14"),
            (">= threshold", "> threshold"),
            ("found.add", "sums.sort() or found.add"),
        ],
        "fold": [
            ("-threshold", "threshold"),
            ("[inputs, ones]", "[ones, inputs]"),
        ],
        "circle": [
            ("passes - start", "passes"),
            ("return start,", "return passes,"),
            ("seen[tuple(weights)] = passes", "seen[tuple(weights)] = passes + 1"),
        ],
        "silence": [
            ("pair[1] - pair[0]", "pair[0] - pair[1]"),
            (" if event.strand == strand", ""),
            ("max(itertools.pairwise(years)", "max(list(itertools.pairwise(years))[::-1]"),
        ],
    },
    "02-concepts": {
        "split": [
            ("rng.permutation(count)", "np.arange(count)"),
            ("order[held_out:]", "order[validation_size:]"),
        ],
        "scale": [
            ("(new - mean) / deviation", "(new - new.mean(axis=0)) / new.std(axis=0)"),  # leaks
            ("mean = training.mean(axis=0)", "mean = training.mean()"),
            ("np.where(constant, 1, deviation)", "deviation + 1e-300 * constant"),  # rounding
        ],
        "majority": [
            ("np.bincount(training_labels)", "np.bincount(new_labels)"),
            (
                "np.bincount(training_labels).argmax()",
                "sorted(training_labels, key=lambda c: (sum(training_labels == c), c))[-1]",  # ties
            ),
        ],
        "slopes": [
            ("output - y\n", "y - output\n"),
            ("2 * (output - y)", "-2 * (output - y)"),
            ("2 * (output - y) * output * (1 - output)", "2 * (output - y)"),
            ("0.5 * (1 + np.tanh(0.5 * z))", "1 / (1 + np.exp(-z))"),
        ],
        "softmax": [
            ("np.diag(probabilities) - np", "np.diag(probabilities) + np"),
            ("- np.outer(probabilities, probabilities)", "- np.diag(probabilities**2)"),
        ],
        "momentum": [
            ("- learning_rate", "+ learning_rate"),
            ("momentum * velocity -", "velocity -"),
            ("point = point + velocity", "point += velocity"),
        ],
        "rate": [("2 / ", "1 / "), (".max()", ".mean()")],
        "batches": [
            ("rng.permutation(count)", "np.arange(count)"),
            ("range(0, count, batch_size)", "range(0, count - batch_size + 1, batch_size)"),
        ],
        "decay": [
            ("gradient + 2", "gradient - 2"),
            ("weights - learning_rate", "weights + learning_rate"),
            ("2 * strength", "strength"),
        ],
        "dropout": [
            (">= rate", "< rate"),
            (" / (1 - rate)", ""),
            ("rng.random(values.shape)", "rng.random((len(values), 1))"),
        ],
        "stopping": [
            ("loss < losses[best]", "loss <= losses[best]"),
            (">= patience", "> patience"),
            ("return best, epoch", "return epoch, epoch"),
        ],
        "shift": [
            ("top, left = max(0, down), max(0, right)", "top, left = max(0, right), max(0, down)"),
            ("np.zeros_like(image)", "np.zeros(image.shape)"),
        ],
        "choose": [
            (
                "scores[name] = classifier.score(*validation)",
                "scores[name] = classifier.score(*test)",
            ),
            (
                "scores[name] = classifier.score(*validation)",
                "scores[name] = classifier.score(*validation); classifier.score(*test)",
            ),
            ("classifier.fit(*training)", "classifier.fit(*training).fit(*validation)"),
            ("max(scores, key", "max(reversed(scores), key"),  # of equals, the last
        ],
    },
    "03-feedforward": {
        "parameters": [("(inputs + 1)", "inputs")],
        "shapes": [("(batch, outputs)", "(outputs, batch)")],
        "sigmoid": [
            ("(1 - output)", "(output - 1)"),
            ("output * (1 - output)", "1 - output**2"),  # the slope of tanh
        ],
        "forward": [
            ("np.maximum", "np.minimum"),
            ("return x @ kernel + bias", "return np.maximum(x @ kernel + bias, 0)"),
        ],
        "entropy": [
            ("log_sum_exp - shifted[", "log_sum_exp + shifted["),
            ("logits - logits.max(axis=1, keepdims=True)", "logits"),
            ("logits.max(axis=1, keepdims=True)", "logits.max()"),
        ],
        "difference": [
            (
                "(function(point + offset) - function(point - offset))",
                "(function(point - offset) - function(point + offset))",
            ),
            (
                "(function(point + offset) - function(point - offset)) / (2 * step)",
                "(function(point + offset) - function(point)) / step",
            ),
            (
                "offset[index] = step",
                "offset[index] = step; point[index] += 1e-6",
            ),  # changes its argument
        ],
        "entropy-gradient": [
            ("return gradient", "return -gradient"),
            ("-= 1", "+= 1"),
            ("gradient / len(labels)", "gradient"),
        ],
        "broadcast": [
            ("return gradient.sum", "return -gradient.sum"),
            ("return gradient.sum", "return gradient.mean"),
            ("keepdims=True", "keepdims=False"),
        ],
        "loop": [
            ("data - learning_rate", "data + learning_rate"),
            ("parameter.grad = None", "pass"),
            ("float(loss.data)", "loss"),
        ],
        "adam": [
            ("weight - learning_rate", "weight + learning_rate"),
            ("corrected_mean = mean / (1 - beta_1**t)", "corrected_mean = mean"),
            ("np.sqrt(corrected_square)", "corrected_square"),
        ],
        "backward": [
            ("hidden * (1 - hidden)", "hidden * (hidden - 1)"),
            ("labels] -= 1", "labels] += 1"),
            ("hidden.T @ error, error", "-hidden.T @ error, -error"),
            ("error /= len(labels)", "error /= 1"),
        ],
        "softplus": [
            ("gradient * slope", "-gradient * slope"),
            ("gradient * slope", "slope"),
            ("np.logaddexp(0, a.data)", "np.log(1 + np.exp(a.data))"),
        ],
        "depth": [
            ("2 / inputs", "2 / outputs"),
            ("np.mean(x**2)", "np.mean(x)"),
        ],
        "overfit": [("epochs=200", "epochs=5")],
        "width": [
            ("images[held_out]), labels[held_out]", "images[training]), labels[training]"),
            ("rng.permutation(len(images))", "np.arange(len(images))"),
        ],
    },
    "04-convolutional": {
        "size": [
            ("(size + stride - 1) // stride", "size // stride"),
            ("dilation * (kernel_size - 1) + 1", "dilation * kernel_size"),
            ("(size - extent) // stride + 1", "size - extent + 1"),
            ("max(0, (size - extent) // stride + 1)", "(size - extent) // stride + 1"),
            ("(size - extent) // stride", "(size - extent) / stride"),  # not an int
            ("(size - extent) // stride", "int((size - extent) / stride)"),  # rounds towards 0
        ],
        "count": [
            ("* inputs + 1) * filters", "* inputs) * filters"),
            ("kernel_size**2", "kernel_size"),
            ("(sizes[0] + 1)", "sizes[0]"),
        ],
        "correlate": [
            ("kernel[i, j]", "-kernel[i, j]"),
            ("kernel[i, j]", "kernel[-1 - i, -1 - j]"),  # convolution proper: flipped
            ("image.shape[0] - height + 1", "image.shape[0] - height"),
        ],
        "design": [
            ("[-0.5, 0, 0.5]", "[0.5, 0, -0.5]"),
            ("[[0.0, 1, 0], [0, 0, 0], [0, 0, 0]]", "[[0.0, 0, 0], [0, 0, 0], [0, 1, 0]]"),
            ("-1 / 9", "-1 / 8"),
            (  # averaged over three rows
                "np.array([[0, 0, 0], [-0.5, 0, 0.5], [0, 0, 0]])",
                "np.array([[-1, 0, 1]] * 3) / 6",
            ),
        ],
        "field": [
            ("in reversed(layers)", "in layers"),
            ("dilation * ", ""),
            ("(kernel_size - 1)", "kernel_size"),
            ("first * stride, last * stride +", "first, last +"),
        ],
        "patches": [
            ("0, 1, 2, 4, 5, 3", "0, 1, 2, 3, 4, 5"),  # channel before row and column
            ("[:, ::stride, ::stride]", "[:, ::stride, ::stride][:, ::-1]"),
            ("[:, ::stride, ::stride]", ""),
            ("0, 1, 2, 4, 5, 3", "0, 1, 2, 5, 4, 3"),
        ],
        "kernel-gradient": [
            ("(gradient * image", "(-gradient * image"),
            ("result[i, j] =", "result[-1 - i, -1 - j] ="),
            (".sum()", ".mean()"),
            ("image.shape[1] - columns + 1", "image.shape[0] - rows + 1"),  # always square
        ],
        "shift": [
            ("(rows // stride, columns // stride)", "(-rows // stride, -columns // stride)"),
            ("(rows // stride, columns // stride)", "(rows, columns)"),
            ("(rows // stride, columns // stride)", "(columns // stride, rows // stride)"),
            ("margin:-margin, margin:-margin", ":, :"),
            ("np.abs(moved_first - moved_last)", "(moved_first - moved_last)"),
            ("np.abs(moved_last)", "moved_last"),
            ("[inside].max()\n    return", "[inside].max(axis=(1, 2, 3)).mean()\n    return"),
        ],
        "pool": [
            ("return (is_largest * gradient", "return (-1.0 * is_largest * gradient"),
            ("split.max", "split.min"),
            ("split.max", "split.mean"),
            ("windows.max", "windows.min"),
            ("split.max(axis=(2, 4))", "split.max(axis=(1, 3))"),
            ("(is_largest * gradient[", "(np.ones(is_largest.shape) * gradient["),  # to all pixels
            (  # every second row and column instead of neighbours
                "split.max(axis=(2, 4))",
                "images.reshape(batch, size, height // size, width // size, size, channels).max((1, 4))",
            ),
        ],
        "normalise": [
            ("x - mean", "mean - x"),
            ("0.99 * old + 0.01 * new", "0.01 * old + 0.99 * new"),
            ("x.var(axis=(0, 1, 2))", "x.var(axis=(0, 1, 2), ddof=1)"),
            ("x.mean(axis=(0, 1, 2))", "x.mean()"),
            (  # the variance is never updated
                "tuple(0.99 * old + 0.01 * new for old, new in zip(moving, (mean, variance)))",
                "(0.99 * moving[0] + 0.01 * mean, moving[1])",
            ),
            ("x.var(axis=(0, 1, 2))", "x.var(axis=(0, 1))"),
        ],
        "residual": [
            ("through + gradient", "through - gradient"),
            ("matrix.T", "matrix"),
            ("(gradient * mask)", "gradient"),
            (" + (x if shortcut else 0)", ""),
            ("zip(reversed(matrices), ", "zip(matrices, "),
            ("through + gradient if shortcut else through", "through"),
            ("z > 0", "z >= 0"),
        ],
        "twice": [
            ("gradient = once", "gradient = -once"),
            ("(error - once @ error)", "error"),
            ("once * (error - once @ error)", "once - (twice - error)"),  # that of one softmax
            ("-np.log(twice[label])", "-np.log(once[label])"),
            ("once * (error - once @ error)", "2 * once * (1 - once) * error"),  # two classes only
        ],
        "occlude": [
            ("score(image) - score(covered)", "score(covered) - score(image)"),
            ("image.copy()", "image"),
            (
                "row * size : (row + 1) * size, column * size : (column + 1) * size",
                "column * size : (column + 1) * size, row * size : (row + 1) * size",
            ),
            ("] = 0", "] = image.mean()"),
        ],
        "augment": [
            ("shown = shift_images(shown, largest, rng)", "pass"),
            ("order[:validation_size], order[validation_size:]", "order[:validation_size], order"),
            ("shift_images(images[held_out], largest, rng)", "images[held_out]"),
            ("rng.permutation(len(images))", "np.arange(len(images))"),
            ('if name == "augmented":', "if True:"),
            (  # the same copies in every epoch
                "shown = shift_images(shown, largest, rng)",
                "shown = shift_images(shown, largest, np.random.default_rng(0))",
            ),
        ],
    },
    "05-recurrent": {
        "recurrence": [
            ("@ recurrent_kernel", "@ recurrent_kernel.T"),
            ("state, states = initial, []", "state, states = np.zeros_like(initial), []"),
            ("+ bias)", "+ bias * (t == 0))"),
            ("np.stack(states, axis=1)", 'np.stack(states, axis=1).astype("float32")'),
            ("np.tanh(x[:, t] @ kernel", "np.tanh(x[:, 0] @ kernel"),
        ],
        "through-time": [
            ("(1 - states[:, t + 1] ** 2)", "(states[:, t + 1] ** 2 - 1)"),
            ("states[:, t].T", "states[:, t + 1].T"),
            ("recurrent_kernel.T", "recurrent_kernel"),
            ("recurrent_gradient +=", "recurrent_gradient ="),
            ("kernel_gradient +=", "kernel_gradient ="),
            ("z_gradient.sum(axis=0)", "z_gradient.mean(axis=0)"),
            ("states[:, t + 1] ** 2", "states[:, t] ** 2"),
            ("gradient = z_gradient @", "gradient[:] = z_gradient @"),  # changes its argument
            ("z_gradient @ kernel.T", "gradient @ kernel.T"),
            ("input_gradient[:, t]", "input_gradient[:, t - 1]"),
            ("return input_gradient, gradient,", "return input_gradient, z_gradient,"),
        ],
        "bound": [
            (
                "np.linalg.svd(recurrent_kernel, compute_uv=False)",
                "abs(np.linalg.eigvals(recurrent_kernel))",
            ),
            (
                "np.linalg.svd(recurrent_kernel, compute_uv=False)",
                "np.linalg.norm(recurrent_kernel)",
            ),
            (".max()", ".min()"),
            ("slope * ", ""),
            ("abs(factor - 1) < 1e-9", "factor == 1"),
            ("factor**lag", "factor * lag"),
        ],
        "clip": [
            (
                "[factor * g for g in gradients]",
                "[g * min(1, largest / max(np.linalg.norm(g), 1e-300)) for g in gradients]",
            ),
            ("min(1, largest / norm)", "largest / norm"),
            ("[factor * g for", "[np.clip(g, -largest, largest) for"),
            ("[factor * g for", "[np.multiply(factor, g, out=g) for"),
            ('g.astype("float64")', "g"),
            (" if norm > 0 else 1", ""),  # a warning
            ("], norm", "], min(norm, largest)"),
        ],
        "latch": [
            ("(1 - states[1:] ** 2)", "(states[1:] ** 2 - 1)"),
            ("np.array([[2.0]])", "np.array([[1.0]])"),  # leaks
            ("np.array([[2.0]])", "np.array([[0.5]])"),
            ("np.array([[2.0]])", "np.array([[1.25]])"),  # not if all the noise is against it
            ("np.array([0.0])", "np.array([1.0])"),
            ("np.array([[1.0]])", "np.array([[-1.0]])"),
            ("np.array([[1.0]])", "np.array([[20.0]])"),  # noise turns it
            (
                "kernel = np.array([[1.0]])\n    recurrent_kernel = np.array([[2.0]])",
                "kernel = np.array([[2.1]])\n    recurrent_kernel = np.array([[1.5]])",
            ),  # noise turns it, but not in fifty steps
            ("states[1:]", "states[:-1]"),
            ("recurrent_kernel[0, 0] * ", ""),
        ],
        "lstm": [
            ("i, f, candidate, o =", "i, f, o, candidate ="),
            ("i, f, candidate, o =", "f, i, candidate, o ="),
            ("np.tanh(c)", "c"),
            ("sigmoid(f) * c", "(1 - sigmoid(f)) * c"),
            (
                "c = sigmoid(f) * c + sigmoid(i) * np.tanh(candidate)\n    return sigmoid(o) * np.tanh(c), c",
                "return sigmoid(o) * np.tanh(c), sigmoid(f) * c + sigmoid(i) * np.tanh(candidate)",
            ),
            ("np.tanh(candidate)", "sigmoid(candidate)"),
        ],
        "gru": [
            ("z * h + (1 - z) * candidate", "(1 - z) * h + z * candidate"),
            ("    if reset_after:", "    if not reset_after:"),
            ("h @ recurrent_kernel + state_bias", "h @ recurrent_kernel"),
            (
                "r * h_candidate",
                "r * (h_candidate - state_bias[2 * units :]) + state_bias[2 * units :]",
            ),
            ("x_z, x_r, x_candidate =", "x_r, x_z, x_candidate ="),
            ("(2 if reset_after else 1)", "1"),
        ],
        "pad": [
            (":length]", "-length:]"),  # zeros in front
            ("return array, mask", "return array, (array != 0).any(axis=2)"),
            ("states[np.arange(len(states)), mask.sum(axis=1) - 1]", "states[:, -1]"),
            ("return array, mask", "return array[:, : min(lengths)], mask[:, : min(lengths)]"),
            ("dtype=bool", "dtype=int"),
            ("sequences[0].shape[1]))", 'sequences[0].shape[1]), "float32")'),
            ("mask.sum(axis=1) - 1]", "mask.sum(axis=1) - 2]"),
        ],
        "windows": [
            ("hours - horizon + 1", "hours - horizon"),
            ("hours - horizon + 1", "hours"),  # up to the target
            (", stop)  #", ", stop + 1)  #"),
            (", stop)  #", ", stop) + horizon  #"),
            ("max(start, history + horizon - 1)", "start + history + horizon - 1"),
            ("history + horizon - 1)", "history + horizon)"),
            ("no pair with a target", "nothing"),  # the message
            (
                "if len(hours) == 0:",
                "if len(hours) == 0:\n        return np.zeros((0, history, 1)), np.zeros(0)\n    if 0:",
            ),
        ],
        "perplexity": [
            ("-np.mean", "np.mean"),
            (
                "-np.mean(np.log(probabilities_given))",
                "-np.log(np.prod(probabilities_given)) / len(probabilities_given)",
            ),
            ("np.exp(loss)", "np.mean(1 / np.maximum(probabilities_given, 1e-300))"),
            ("loss / np.log(2)", "loss"),
            ('divide="ignore"', 'over="ignore"'),  # a warning
            ("symbol_perplexity**", "symbol_perplexity *"),
        ],
        "kneser-ney": [
            ("followed.sum(axis=0)", "counts.sum(axis=0)"),
            ("discount * kinds * below", "0 * kinds * below"),
            ("discount * np.sum(predecessors > 0) / size", "discount * (predecessors > 0)"),
            ("followed.sum(axis=0)", "followed.sum(axis=1)"),
            ("np.tile(below, (size, 1))", "np.full((size, size), 1 / size)"),
            ("return result", "return result.T"),
            ("discount * kinds * below", "discount * below"),
        ],
        "temperature": [
            ("(logits - np.max(logits)) / temperature", "(logits - np.max(logits)) * temperature"),
            ("weights / weights.sum()", "weights"),
            ("logits - np.max(logits)", "logits"),
            (
                'np.searchsorted(sums, rng.random(), side="right")',
                "np.argmax(np.diff(sums, prepend=0))",
            ),
            ("temperature <= 0", "temperature < 0"),
            ('side="right"', 'side="left"'),
            ("min(k, len(sums) - 1)", "k"),
        ],
        "tree": [
            ("in (left, right)", "in (right, left)"),
            ("embeddings[operator], ", "0 * embeddings[operator], "),
            ("np.maximum(hidden, 0)", "hidden"),
            ("np.tanh(np.maximum", "(np.maximum"),
            ("return embeddings[tree]", "return np.tanh(embeddings[tree])"),
        ],
    },
    "06-autoencoders": {
        "project": [
            ("mean + codes", "mean - codes"),
            ("(data - mean) @", "data @"),
            ("data.mean(axis=0)", "data.mean()"),
            ("/ len(data)", "/ (len(data) - 1)"),
            ("[: data.shape[1] - k]", "[k:]"),  # the largest
            ("return mean + codes", "return codes"),
            ("centred.T @ centred / len(data)", "np.cov(data.T, ddof=0) * np.eye(data.shape[1])"),
        ],
        "angles": [
            ("first_basis, _ = np.linalg.qr(first.T)", "first_basis = first.T"),
            (
                "second_basis, _ = np.linalg.qr(second.T)",
                "second_basis = (second / np.linalg.norm(second, axis=1, keepdims=True)).T",
            ),
            ("np.minimum(cosines, 1)", "cosines"),
            ("np.degrees(np.arccos(np.minimum(cosines, 1)))", "np.arccos(np.minimum(cosines, 1))"),
            ("np.minimum(cosines, 1)))", "np.minimum(cosines, 1)))[::-1]"),
            (  # of corresponding vectors only
                "np.linalg.svd(first_basis.T @ second_basis, compute_uv=False)",
                "np.sort(np.abs(np.sum(first_basis * second_basis, axis=0)))[::-1]",
            ),
        ],
        "linear": [
            ("-2 * covariance", "2 * covariance"),
            ("-2 * covariance", "-covariance"),
            ("error.T @ covariance @ error", "covariance @ error"),  # true of projections only
            ("encoder.T @ slope", "(slope @ encoder).T"),
            ("slope @ decoder.T", "slope.T @ decoder.T"),
            ("-2 * covariance @ error", "-2 * covariance"),
            ("np.trace(error.T", "np.trace(error"),
        ],
        "transposed": [
            ("+= value * kernel", "-= value * kernel"),
            ("+= value * kernel", "= value * kernel"),
            ("place] = kernel", "place] = kernel[::-1]"),
            ("(size - len(kernel)) // stride + 1", "(size - len(kernel)) // stride"),
            ("(len(z) - 1) * stride + len(kernel)", "len(z) * stride + len(kernel) - 1"),
            (".astype(int)", ""),
            ("value * kernel", "value * kernel[::-1]"),
            ("np.ones(count), np.ones(kernel_size)", "np.ones(kernel_size), np.ones(count)"),
        ],
        "denoise": [
            ("return -np.linalg.solve", "return np.linalg.solve"),
            ("deviation**2 *", "deviation *"),
            ("/ len(clean)", "/ (len(clean) - 1)"),
            ("mean - mean @ matrix", "mean"),
            ("mean - mean @ matrix", "0 * mean"),
            ("np.linalg.solve(of_damaged, covariance)", "np.linalg.pinv(of_damaged)"),
            ("(damaged - mean).T", "damaged.T"),
            (
                "np.linalg.solve(of_damaged, covariance)",
                "np.diag(np.diag(covariance) / np.diag(of_damaged))",
            ),
        ],
        "sparse": [
            ("codes - rate * gradient", "codes + rate * gradient"),
            ("np.sign(a) * ", ""),
            ("rate * strength)", "strength)"),
            ("np.maximum(np.abs(a) - strength, 0)", "np.abs(a) * (np.abs(a) > strength)"),
            ("np.linalg.norm(decoder, 2) ** 2", "np.linalg.norm(decoder) ** 2"),  # too small a step
            ("np.maximum(np.abs(a) - strength, 0)", "np.abs(a) / (1 + strength)"),  # squares
            ("np.linalg.norm(decoder, 2) ** 2", "np.linalg.norm(decoder, 2)"),
            ("np.abs(a) - strength", "np.abs(a) - 2 * strength"),
        ],
        "auroc": [
            ("difference > 0", "difference < 0"),
            (" + 0.5 * np.mean(difference == 0)", ""),
            ("difference > 0", "difference >= 0"),
            ("0.5 * np.mean(difference == 0)", "0.5 * np.mean(difference[0] == 0)"),
        ],
        "bits": [
            ("total -=", "total +="),
            ("np.log2", "np.log"),
            ("in symbols.T", "in [symbols.ravel()]"),  # one histogram for all numbers
            ("np.rint", "np.floor"),
            ("symbols, step * symbols", "symbols, symbols"),
            ('.astype("int64")', ""),
            ("in symbols.T", "in [np.unique(symbols, axis=0, return_inverse=True)[1]]"),  # jointly
            ("np.rint(codes / step)", "np.trunc(codes / step)"),
        ],
        "kl": [
            ("+ log_ratio", "- log_ratio"),
            (
                "(mean_q, covariance_q, mean_p, covariance_p):",
                "(mean_p, covariance_p, mean_q, covariance_q):",
            ),
            (" - len(shift)", ""),
            ("0.5 * (", "("),
            (
                "np.linalg.slogdet(covariance_p)[1] - np.linalg.slogdet(covariance_q)[1]",
                "np.log(np.linalg.det(covariance_p) / np.linalg.det(covariance_q))",
            ),
            (
                "np.trace(np.linalg.solve(covariance_p, covariance_q))",
                "np.sum(np.diag(covariance_q) / np.diag(covariance_p))",
            ),
            ("np.linalg.solve(covariance_p, shift)", "shift"),
            ("np.linalg.solve(covariance_p, shift)", "np.linalg.solve(covariance_q, shift)"),
        ],
        "draw": [
            ("return values * noise", "return -values * noise"),
            ("(noise**2 - 1)", "noise**2"),
            ("values * noise / deviation", "values * noise"),
            ("return slopes, slopes * noise", "return slopes, slopes"),
            ("return slopes, slopes * noise", "return slopes, slopes * noise / deviation"),
            ("h_slope(mean + deviation * noise)", "h_slope(mean + 0 * noise)"),
            ("h(mean + deviation * noise)", "h(mean + noise)"),
            ("(noise**2 - 1) / deviation", "(noise**2 - 1) / deviation**2"),
            ("return slopes, slopes * noise", "return -slopes, -slopes * noise"),
        ],
        "logistic": [
            ("return -np.mean", "return np.mean"),
            ("np.logaddexp(0, lower)", "np.logaddexp(0, -lower)"),
            (
                "inside = log_below + log_above + np.log(-np.expm1(-1 / spread))",
                "inside = np.log(np.exp(log_below) - np.exp(-np.logaddexp(0, -lower)))",
            ),
            ("np.where(x == 0, log_below, ", "np.where(x < 0, log_below, "),
            ("np.where(x == 255, log_above, inside)", "inside"),
            (" / np.log(2)", ""),
            ("x == 255, log_above", "x == 255, log_below"),
            ("np.log(-np.expm1(-1 / spread))", "0"),
            ("-np.logaddexp(0, -upper)", "-np.log(1 + np.exp(-upper))"),  # overflows
            ("-np.mean(", "-np.sum("),
            ("spread\n    lower = (x - 0.5", "spread\n    lower = (x"),
        ],
        "evidence": [
            ("return -distortion - rate", "return -distortion + rate"),
            ("    squares = squares + deviation**2 @ np.sum(decoder**2, axis=1)\n", ""),
            ("0.5 * codes**2 + 0.5 * noise**2", "0.5 * codes**2 - 0.5 * noise**2"),
            ("noise**2 + np.log(deviation)", "noise**2 - np.log(deviation)"),
            (
                "largest + np.log(np.mean(np.exp(log_weights - largest), axis=0))",
                "log_weights.mean(axis=0)",
            ),
            (
                "largest + np.log(np.mean(np.exp(log_weights - largest), axis=0))",
                "np.log(np.mean(np.exp(log_weights), axis=0))",
            ),
            ("np.log(np.mean(np", "np.log(np.sum(np"),
            ("+ s**2 * np.eye", "+ s * np.eye"),
            ("2 * np.pi * covariance", "covariance"),
            ("- np.log(deviation**2)", "- np.log(deviation)"),
            ("log_weights.max(axis=0)", "log_weights.max()"),  # underflows
            ("decoder.T @ decoder + s", "s"),
            ("(log_determinant + np", "(-log_determinant + np"),
        ],
        "water": [
            ("0.5 * np.log", "-0.5 * np.log"),
            ("np.maximum(variances, level)", "np.maximum(variances, 1e-300)"),  # below 0
            ("0.5 * np.log", "np.log"),
            ("np.minimum(variances, level).sum()", "variances[variances <= level].sum()"),
            ("- 2 * nats", "- nats"),
            ("np.sum(levels < largest_first) - 1", "-1"),  # all are coded
            ("np.sum(levels < largest_first) - 1", "0"),  # only one is
            ("[variances > 0]", ""),  # the logarithm of 0
            ("np.sort(variances[variances > 0])[::-1]", "variances[variances > 0]"),
            ("np.minimum(variances, level).sum()", "np.maximum(variances, level).sum()"),
        ],
        "between": [
            ("+ t * second", "- t * second"),
            (" / np.sqrt((1 - t) ** 2 + t**2)", ""),
            ("np.sqrt((1 - t) ** 2 + t**2)", "((1 - t) ** 2 + t**2)"),
            ("(1 - t) * first + t * second", "t * first + (1 - t) * second"),
            ("np.linspace(0, 1, count)", "np.linspace(0, 1, count, endpoint=False)"),
            ("np.linspace(0, 1, count)", "(np.sin(np.linspace(0, np.pi / 2, count)) ** 2)"),
        ],
    },
    "07-gans": {
        "game": [
            ("return -real_losses.mean() - generated", "return real_losses.mean() + generated"),
            ("np.logaddexp(0, -real_logits)", "np.log(1 + np.exp(-real_logits))"),
            ("-real_losses.mean() - generated_losses.mean()", "-2 * losses.mean()"),
            ("losses.mean()\n", "(real_losses.mean() + generated_losses.mean()) / 2\n"),
            ("np.logaddexp(0, generated_logits)", "np.logaddexp(0, -generated_logits)"),
        ],
        "slopes": [
            ("return -sigmoid, -", "return sigmoid, "),
            ("return -sigmoid, -", "return -sigmoid, "),
            ("return -sigmoid, -sigmoid_of_minus", "return -sigmoid_of_minus, -sigmoid"),
            ("-sigmoid_of_minus", "sigmoid - 1"),  # no digits left
            ("return -sigmoid,", "return -0.5 * (1 + np.tanh(a / 2)),"),
            ("return -sigmoid,", "return -sigmoid * sigmoid_of_minus,"),  # that of the sigmoid
        ],
        "condition": [
            ("labels.min() < 0 or ", ""),  # -1 is the last class
            ("[z, np.eye(classes, dtype=z.dtype)[labels]]", "[np.eye(classes)[labels], z]"),
            (", dtype=z.dtype", ""),
            ("logits[np.arange(len(labels)), labels]", "logits.max(axis=1)"),
        ],
        "best": [
            ("total += weight", "total -= weight"),
            ("np.divide(share * p,", "np.divide((1 - share) * q,"),
            ("np.full(len(p), 0.5)", "np.zeros(len(p))"),
            ("np.divide(share * p, mixture", "np.divide(p, p + q"),  # as if shares were equal
            ("there = one > 0", "there = (p > 0) & (q > 0)"),
            ("((share, p), (1 - share, q))", "((share, p),)"),
            ("((share, p), (1 - share, q))", "((0.5, p), (0.5, q))"),
            ("np.log(one[there]", "np.log2(one[there]"),
        ],
        "modes": [
            ("np.exp(-np.sum", "np.exp(np.sum"),
            ("near.any(axis=1).mean()", "np.mean(counts > 0)"),
            ("/ counts.sum()", "/ len(samples)"),
            ("distances <= 3 * deviation", "distances <= distances.min(axis=1, keepdims=True)"),
            ("<= 3 * deviation", "<= 2 * deviation"),
            ("np.exp(-np.sum(shares * np.log(len(modes) * shares)))", "np.mean(counts > 0)"),
        ],
        "frechet": [
            ("2 * x.mean(axis=0) - x", "x - 2 * x.mean(axis=0)"),
            (
                "rng.permutation(len(real))[: 2 * size]",
                "rng.integers(len(real), size=2 * size)",
            ),  # the same row on both sides
            ("2 * x.mean(axis=0) - x", "2 * x.mean() - x"),
            ("drawn[size:])", "real)"),  # against all, itself included
            ("rng.permutation(len(real))", "np.arange(len(real))"),
            ("2 * x.mean(axis=0) - x", "np.tile(x.mean(axis=0), (len(x), 1))"),
            ("return np.mean(distances)", "return np.median(distances)"),
            ("2 * x.mean(axis=0) - x", "x[::-1].copy()"),  # the same rows
            (
                "frechet_distance(drawn[:size], drawn[size:])",
                "frechet_distance(*np.split(rng.permutation(real), 2))",
            ),
        ],
        "copies": [
            ("0.5, seen < unseen", "0.5, seen > unseen"),
            ("np.where(seen == unseen, 0.5, seen < unseen)", "seen < unseen"),
            ("to_training.argmin(axis=1)", "to_held_out.argmin(axis=1)"),
            (
                "to_training.min(axis=1), to_held_out.min(axis=1)",
                "to_training.mean(axis=1), to_held_out.mean(axis=1)",
            ),
            ("np.linalg.norm(training - row, axis=1)", "np.abs(training - row).sum(axis=1)"),
            ("if len(training) != len(held_out):", "if len(training) > len(held_out):"),
        ],
        "recall": [
            ("<= radii", "> radii"),
            ("[:, k]", "[:, k - 1]"),  # counts the centre itself
            ("<= radii", "< radii"),
            ("in_generated.any(axis=1)", "in_real.any(axis=0)"),
            ("in_real.any(axis=0)", "in_generated.any(axis=0)"),
            (
                "in_real.any(axis=1).mean(), in_generated.any(axis=1)",
                "in_generated.any(axis=1).mean(), in_real.any(axis=1)",
            ),
            ("np.sort(among, axis=1)[:, k]", "np.sort(among, axis=1)[:, k].max()"),
        ],
        "penalty": [
            ("1 - hidden**2", "hidden**2 - 1"),
            ("(1 - hidden**2) * output", "output * np.ones_like(hidden)"),  # a linear critic
            ("(lengths - 1) ** 2", "(lengths**2 - 1) ** 2"),
            ("(lengths - 1) ** 2", "np.maximum(lengths - 1, 0) ** 2"),  # flat is not punished
            (
                "generated + position[:, None] * (real - generated)",
                "real + position[:, None] * (generated - real)",
            ),
            (
                "np.linalg.norm(critic_gradient(between, kernel, bias, output), axis=1)",
                "np.linalg.norm(critic_gradient(between, kernel, bias, output))",
            ),
            (
                "between = generated + position[:, None] * (real - generated)",
                "between = np.concatenate([real, generated])",
            ),
            ("position[:, None]", "position"),  # one for each feature
            ("(1 - hidden**2)", "(1 - hidden)"),
        ],
        "carry": [
            ("np.sign(y_left - x_left)", "np.sign(x_left - y_left)"),
            ("partner[np.argsort(x)] = np.argsort(y)", "partner[:] = np.argsort(y)[np.argsort(x)]"),
            ('side="right"', 'side="left"'),
            ("np.abs(x - y[partner])", "(x - y[partner]) ** 2"),
            (
                "np.sign(y_left - x_left)[:-1]",
                "np.full(len(points) - 1, np.sign(x.mean() - y.mean()))",
            ),  # one direction for all
            ("np.sign(y_left - x_left)", "(y_left - x_left)"),
            ("np.sign(y_left - x_left)", "2 * np.sign(y_left - x_left)"),
            (
                "partner[np.argsort(x)] = np.argsort(y)",
                "partner[:] = [np.argmin(np.abs(y - one)) for one in x]",
            ),  # the nearest
        ],
        "turns": [
            ("cost = non_saturating_loss(", "cost = -1.0 * non_saturating_loss("),
            (
                "discriminator_loss(*answers)",
                "non_saturating_loss(answers[0]) + non_saturating_loss(answers[1])",
            ),  # the label of both is "real", as in the listing
            (
                "discriminator_loss(*answers)",
                "non_saturating_loss(answers[0])",
            ),  # no generated example
            (
                "    with no_grad():\n        generated = generator(noise, training=True)",
                "    generated = generator(noise, training=True)",
            ),
            ("    optimizer.zero_grad()\n    loss", "    loss"),
            ("    optimizer.zero_grad()\n    cost", "    cost"),
            (
                "optim.Adam(generator.parameters,",
                "optim.Adam([*generator.parameters, *discriminator.parameters],",
            ),
            ("loss.backward()\n    optimizer.step()", "loss.backward()"),
            (
                "cost = non_saturating_loss(discriminator(made, training=True))",
                "cost = -1.0 * non_saturating_loss(-discriminator(made, training=True))",
            ),  # saturates
            ("discriminator_loss(*answers)", "discriminator_loss(*answers[::-1])"),
            (", beta_1=0.5", ""),
            ("discriminator(made, training=True)", "discriminator(made)"),
            ("discriminator_loss(*answers)", "-1.0 * discriminator_loss(*answers)"),
        ],
    },
    "08-future": {
        "views": [
            ("log_sums - partners", "partners - log_sums"),
            ("    np.fill_diagonal(similarities, -np.inf)\n", ""),  # the vector itself counts
            (" / np.linalg.norm(rows, axis=1, keepdims=True)", ""),
            ("rows @ rows.T / temperature", "rows @ rows.T * temperature"),
            ("similarities.max(axis=1)", "np.zeros(2 * n)"),  # overflows
            ("similarities, -np.inf)", "similarities, -np.inf); similarities[:n, :n] = -np.inf"),
            ("np.mean(log_sums - partners)", "np.mean((log_sums - partners)[:n])"),  # one direction
            ("np.mean(log_sums - partners)", "np.sum(log_sums - partners)"),
        ],
        "cost": [
            ("weights + filters, rows", "weights - filters, rows"),
            ("-(-height // stride), -(-width // stride)", "height // stride, width // stride"),
            ("(inputs // groups) * filters", "inputs * filters"),
            ("(inputs // groups) * filters", "(inputs // groups) * (filters // groups)"),
            ("rows * columns * weights", "rows * columns * (weights + filters)"),
            ("1 / filters + 1 / kernel_size**2", "1 / inputs + 1 / kernel_size**2"),
            ("1 / filters + 1 / kernel_size**2", "1 / kernel_size**2"),
        ],
        "prune": [
            ("array - learning_rate", "array + learning_rate"),
            ("[:remove]", "[len(sizes) - remove :]"),  # the largest
            ("np.abs(array).ravel()", "array.ravel()"),
            (
                "stays[np.argsort(sizes)[:remove]] = False",
                "stays &= sizes > np.sort(sizes)[remove - 1]",
            ),
            (
                "np.where(mask, array - learning_rate * gradient, 0.0)",
                "array - learning_rate * gradient * mask",
            ),
            (
                "mask, array - learning_rate * gradient, 0.0",
                "mask, array - learning_rate * gradient, array",
            ),
            (
                "np.concatenate([np.abs(array).ravel() for array in arrays])",
                "np.concatenate([(np.abs(a) / np.abs(a).max()).ravel() for a in arrays])",
            ),  # each array by its own measure
        ],
        "bytes": [
            ("-128 - low / scale", "-128 + low / scale"),
            ("min(0.0, x.min()), max(0.0, x.max())", "x.min(), x.max()"),
            (
                "codes.astype(float) - zero_point",
                "(codes - np.int8(zero_point)).astype(float)",
            ),  # wraps
            (
                "np.clip(np.rint(x / scale) + zero_point, -128, 127)",
                "np.rint(x / scale) + zero_point",
            ),
            ("np.rint(x / scale)", "np.trunc(x / scale)"),
            ("(high - low) / 255", "(high - low) / 256"),
            ("if high > low else 1.0", "if high > low else 0.5"),
        ],
        "teacher": [
            ("np.exp(log_q) - np.exp(log_p)", "np.exp(log_p) - np.exp(log_q)"),
            ("temperature**2 * soft)", "soft)"),
            ("temperature**2 * soft_slope", "soft_slope"),
            ("(np.exp(log_p) * (log_p - log_q))", "(np.exp(log_q) * (log_q - log_p))"),
            ("plain = log_softmax(student)", "plain = log_softmax(student / temperature)"),
            ("* soft_slope) / size", "* soft_slope)"),
            ("logits - logits.max(axis=1, keepdims=True)", "logits"),  # overflows
            ("hard_slope[rows, labels] -= 1", "hard_slope[rows, labels] += 1"),
            ("(1 - weight) * hard + weight", "weight * hard + (1 - weight)"),
        ],
        "path": [
            ("return (x - baseline) *", "return (baseline - x) *"),
            ("np.arange(steps) + 0.5", "np.arange(steps)"),
            ("(x - baseline) * gradient(line).mean(axis=0)", "gradient(line).mean(axis=0)"),
            ("(x - baseline) * gradient(line)", "(x - baseline) * gradient(x[None])"),
            ("baseline + position", "position"),  # not from the baseline
            ("return (x - baseline) *", "return x *"),
            ("at_x - at_baseline - credits", "at_x - credits"),
            ("at_x - at_baseline - credits", "credits.sum() - at_x + at_baseline - 0 * credits"),
        ],
        "sign": [
            ("labels == 1, -1, 1", "labels == 1, 1, -1"),
            (
                "np.where(labels == 1, -1, 1)[:, None]",
                "np.sign(0.5 + 0.5 * np.tanh((x @ weights + bias) / 2) - labels)[:, None]",
            ),  # lost where the model is sure
            (
                "np.clip(x + epsilon * toward * np.sign(weights), 0, 1)",
                "x + epsilon * toward * np.sign(weights)",
            ),
            ("toward * np.sign(weights)", "toward * weights"),
            ("np.sign(weights)", "np.where(weights < 0, -1, 1)"),
            ("np.abs(weights).sum()", "np.linalg.norm(weights)"),
            ("x @ weights + bias", "x @ weights"),
            ("np.abs(x @ weights + bias)", "(x @ weights + bias)"),
        ],
        "private": [
            ("weights - learning_rate", "weights + learning_rate"),
            ("clip / np.maximum(lengths, clip)", "clip / np.maximum(lengths, 1e-12)"),  # lengthens
            ("multiplier * clip * noise", "multiplier * noise"),
            ("/ lot_size\n", "/ max(1, len(gradients))\n"),
            (
                "np.linalg.norm(gradients, axis=1, keepdims=True)",
                "np.linalg.norm(gradients)",
            ),  # one length for the whole batch
            ("gradients * (clip / np.maximum(lengths, clip))", "np.clip(gradients, -clip, clip)"),
            (
                "(short.sum(axis=0) + multiplier * clip * noise) / lot_size",
                "short.sum(axis=0) / lot_size + multiplier * clip * noise",
            ),
            ("multiplier * clip * noise", "0 * noise"),
            ("gradients * (clip / np.maximum(lengths, clip))", "gradients"),
        ],
        "halving": [
            ("np.argsort(now", "np.argsort(-now"),
            ("epochs - trained", "epochs"),  # from the beginning in each round
            ("np.inf, losses", "-np.inf, losses"),  # nan is the best
            (
                "count, trained, epochs = max(1, count // factor)",
                "count, trained, epochs = -(-count // factor)",
            ),
            ("losses[alive, epochs - 1]", "losses[alive, -1]"),  # looks ahead
            ("losses[alive, epochs - 1]", "losses[alive, epochs]"),
            ("max(1, len(alive) // factor)", "-(-len(alive) // factor)"),
            (
                "losses[alive, epochs - 1]",
                "losses[alive][:, :epochs].min(axis=1)",
            ),  # the best so far, not at the end
            ('np.argsort(now, kind="stable")', 'np.argsort(now[::-1], kind="stable")'),
            ("plan.append((count, epochs))", "plan.append((count, epochs - trained))"),
        ],
        "shards": [
            ("return counts[busy]", "return -counts[busy]"),
            ("counts[busy] @ gradients[busy] / counts[busy].sum()", "gradients[busy].mean(axis=0)"),
            ("counts > 0", "counts > -1"),
            ("(sender + 1) % n\n", "(sender - 1) % n\n"),
            ("after[receiver, number] += pieces", "after[receiver, number] = pieces"),
            ("after[receiver, number] = pieces", "after[receiver, number] += pieces"),
            ("number = (sender - step) % n", "number = (sender + step) % n"),
            ("(sender + 1 - (step - (n - 1))) % n", "(sender - (step - (n - 1))) % n"),
            ("counts[busy].sum()", "len(counts)"),
        ],
        "attend": [
            ("queries @ keys", "-queries @ keys"),
            (" / np.sqrt(queries.shape[-1])", ""),
            ("np.sqrt(queries.shape[-1])", "queries.shape[-1]"),
            ("np.tril(np.ones", "np.triu(np.ones"),
            ("dtype=bool))", "dtype=bool), -1)\n        past[0, 0] = True"),  # not itself
            ("if causal:", "if not causal and scores.shape[1] == scores.shape[2]:"),
            ("scores, -np.inf", "scores, 0.0"),  # a score of 0 is not no weight
            ("keepdims=True))", "keepdims=True) * 0)"),  # overflows
            ("powers.sum(axis=-1", "powers.sum(axis=1"),
        ],
        "noise": [
            ("* x0 + np", "* x0 - np"),
            ("np.sqrt(1 - kept) * noise\n", "(1 - kept) * noise\n"),
            ("np.cumprod(1 - betas)", "1 - np.cumsum(betas) * 0.5"),
            ("np.concatenate([[1.0], np.cumprod(1 - betas)])[t]", "np.cumprod(1 - betas)[t - 1]"),
            ("(xt - np.sqrt(1 - kept) * noise) / np.sqrt(kept)", "xt - np.sqrt(1 - kept) * noise"),
            ("(xt - np.sqrt(1 - kept)", "(xt + np.sqrt(1 - kept)"),
            ("np.cumprod(1 - betas)", "1 - betas"),
            ("np.sqrt(kept) * x0", "kept * x0"),
        ],
    },
    "09-faq": {
        "first": [
            (", -np.sum(shares", ", np.sum(shares"),
            ("return np.log(classes)", "return -np.log(classes)"),
            (
                "np.log(shares), -np.sum(shares * np.log(shares))",
                "np.log(shares), np.log(len(counts))",
            ),
            ("return np.log(shares),", "return shares,"),
            ("return np.log(classes)", "return np.log2(classes)"),
            ("np.sum(shares * np.log(shares))", "np.mean(np.log(shares))"),
            ("return np.log(shares),", "return -np.log(shares),"),
        ],
        "mend": [
            ("kernel_out -= learning_rate", "kernel_out += learning_rate"),
            ("axis=1", "axis=0"),
            (" * (before > 0)", ""),
            (
                "        hidden_slope = (slope @ kernel_out.T) * (before > 0)\n"
                "        kernel_out -= learning_rate * hidden.T @ slope\n",
                "        kernel_out -= learning_rate * hidden.T @ slope\n"
                "        hidden_slope = (slope @ kernel_out.T) * (before > 0)\n",
            ),
            ("array.copy()", "array"),
            ("        slope = slope / len(classes)\n", ""),
            (".mean()))", ".sum()))"),
            ("[rows, classes] -= 1", "[rows, classes] += 1"),
            ("bias -= learning_rate * hidden_slope.sum(axis=0)", "bias -= 0.0"),
        ],
        "curve": [
            ("np.exp(height), -rise", "np.exp(height), rise"),
            ("np.exp(height), -rise", "height, -rise"),
            ("** (1 / b)", "** b"),
            ("(a / target)", "(target / a)"),
            (
                "np.polyfit(np.log(examples), np.log(errors), 1)",
                "np.polyfit(np.log(examples), np.log(errors), 1, w=errors)",
            ),
            ("np.log(examples), np.log(errors)", "np.log(examples), np.log10(errors)"),
            (
                "np.polyfit(np.log(examples), np.log(errors), 1)",
                "np.polyfit(np.log(examples[[0, -1]]), np.log(errors[[0, -1]]), 1)",
            ),  # only the ends
        ],
        "memory": [
            ("memory - fixed", "memory + fixed"),
            ("(below + 1) * above", "below * above"),
            ("return 4 * parameters", "return 3 * parameters"),
            ("sum(sizes) * number_bytes", "sum(sizes[1:]) * number_bytes"),
            ("max(0, (memory - fixed) // each)", "(memory - fixed) // each"),
            ("max(0, (memory - fixed) // each)", "max(0, -((fixed - memory) // each))"),
            ("training_bytes(sizes, 1, number_bytes)", "training_bytes(sizes, 1)"),
            ("(memory - fixed) // each", "memory // each"),
        ],
        "lucky": [
            ("np.sum(1 - at_most", "np.sum(at_most - 1 + 0 * at_most"),
            ("[:-1] ** models", "[:-1] * models"),
            ("np.cumsum(np.exp(log_chances))", "np.exp(log_chances)"),
            ("/ examples - accuracy", "/ examples"),
            ("1 - at_most[:-1] ** models", "(1 - at_most[:-1]) ** models"),
            ("right[::-1] * np.log(1 - accuracy)", "right * np.log(1 - accuracy)"),
            ("np.sum(1 - at_most[:-1] ** models)", "np.sum(1 - at_most[1:] ** models)"),
        ],
        "paired": [
            ("first - second", "second - first"),
            ("difference.std(ddof=1)", "difference.std()"),
            ("difference.std(ddof=1) / np.sqrt(folds)", "difference.std(ddof=1)"),
            ("first.var(ddof=1) + second", "first.var() + second"),
            (
                "difference = len(first), first - second",
                "difference = len(first), abs(first - second)",
            ),
            (
                "np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / folds)",
                "(first.std(ddof=1) + second.std(ddof=1)) / np.sqrt(folds)",
            ),
            (
                "paired = difference.std(ddof=1) / np.sqrt(folds)",
                "paired = np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / folds)",
            ),
        ],
        "balance": [
            ("np.mean(labels == predictions)", "np.mean(labels != predictions)"),
            ("predictions[labels == one] == one", "labels[labels == one] == predictions[0]"),
            ("np.unique(labels, return_counts=True)", "np.unique(predictions, return_counts=True)"),
            ("predictions[labels == one] == one", "(predictions == one) & (labels == one)"),
            ("counts.max()", "counts[0]"),
            ("np.mean(shares)", "np.average(shares, weights=counts)"),
            ("np.mean(shares)", "np.median(shares)"),
        ],
        "queue": [
            ("now - arrivals[first:last]", "arrivals[first:last] - now"),
            ('side="right"', 'side="left"'),
            ("min(waiting, largest)", "waiting"),
            (
                "first + min(waiting, largest)",
                "min(first + largest, len(arrivals))",
            ),  # does not look
            ("min(waiting, largest)", "1"),
            ("max(now, arrivals[first])", "arrivals[first]"),  # as if always free
            ("per_example * (last - first)", "per_example"),
            ("per_example * (last - first)", "per_example * largest"),
        ],
    },
}


def by_role(notebook, role):
    """The cells with a role for nbgrader ("answer", essays included, or "tests") by grade id."""
    return {
        cell.metadata.nbgrader.grade_id: cell
        for cell in notebook.cells
        if assignments.role(cell) == role
    }


def split(text, block):
    """The lines between the markers of `block`, and the others. Independent of tools/assignments.py, which it checks."""
    inside, outside, within = [], [], False
    for line in text.splitlines():
        if line.strip() in (f"### BEGIN {block}", f"### END {block}"):
            within = "BEGIN" in line
        else:
            (inside if within else outside).append(line)
    return inside, outside


class Course:
    """An nbgrader course with one assignment, in a directory of its own."""

    def __init__(self, directory, slug, source):
        self.directory, self.slug = directory, slug
        path = directory / "source" / slug / f"{slug}.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(source, path)
        self.student_version = assignments.generate(directory, slug)

    def scores(self, student, answers):
        """Hand in the student version with the cells named in `answers` filled in; return {grade id: (score, maximum)}."""
        notebook = nbformat.read(self.student_version, as_version=4)
        for name, cell in by_role(notebook, "answer").items():
            cell.source = answers.get(name, cell.source)
        path = self.directory / "submitted" / student / self.slug / f"{self.slug}.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(notebook, path)
        api = assignments.nbgrader_api(self.directory)
        result = api.autograde(self.slug, student)
        assert result["success"], result
        with api.gradebook as gradebook:
            grades = gradebook.find_submission_notebook(self.slug, self.slug, student).grades
            return {grade.name: (grade.auto_score, grade.max_score) for grade in grades}

    def errors(self, student):
        """The errors that the test cells of an autograded submission raised: {grade id: name of the exception}."""
        notebook = nbformat.read(
            self.directory / "autograded" / student / self.slug / f"{self.slug}.ipynb", as_version=4
        )
        cells = by_role(notebook, "tests").items()
        return {
            name: output.ename
            for name, cell in cells
            for output in cell.outputs
            if output.output_type == "error"
        }


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """On a busy machine the threads of a small matrix product cost far more than they bring."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENBLAS_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module", params=SOURCES)
def slug(request):
    return request.param


@pytest.fixture(scope="module")
def source(slug):
    return nbformat.read(SOURCES[slug], as_version=4)


@pytest.fixture(scope="module")
def answers(source):
    return {name: cell.source for name, cell in by_role(source, "answer").items()}


@pytest.fixture(scope="module")
def course(tmp_path_factory, slug, source):
    return Course(tmp_path_factory.mktemp("course"), slug, source)


def test_form(source):
    """Numbered headings, at least eight exercises, at most one essay, a hidden and a visible test for all others, ids unique."""
    MetadataValidator().validate_nb(source)
    prose = "\n".join(cell.source for cell in source.cells if cell.cell_type == "markdown")
    headings = re.findall("^## .*", prose, re.MULTILINE)
    assert len(headings) >= 8
    for number, heading in enumerate(headings, 1):
        assert heading.startswith(f"## Exercise {number}: ")
    answer_cells = by_role(source, "answer")
    essays = {name for name, cell in answer_cells.items() if cell.cell_type == "markdown"}
    assert len(essays) <= 1
    autograded = set(answer_cells) - essays
    assert set(by_role(source, "tests")) == {f"{name}-tests" for name in autograded}
    assert len(autograded) + len(essays) == len(headings)
    for cell in by_role(source, "tests").values():
        hidden, visible = split(cell.source, "HIDDEN TESTS")
        assert hidden and visible
        assert cell.metadata.nbgrader.locked and cell.metadata.nbgrader.points > 0
    ids = [cell.id for cell in source.cells]
    assert len(set(ids)) == len(ids)


def test_source_passes_nbgraders_validation(slug):
    """`nbgrader validate` on the source: every test cell, visible and hidden, passes with the solutions."""
    result = Validator().validate(str(SOURCES[slug]))
    assert not {"failed", "changed", "type_changed"} & set(result), result


def test_student_version_gives_nothing_away(slug, source, tmp_path):
    assignments.build(ROOT / "notebooks" / "exercises", tmp_path / "out")
    path = tmp_path / "out" / slug / f"{slug}.ipynb"
    first = path.read_bytes()
    student = nbformat.reads(first.decode(), as_version=4)
    shown = {line.strip() for cell in student.cells for line in cell.source.splitlines()}
    for cell in source.cells:
        secret = split(cell.source, "SOLUTION")[0] + split(cell.source, "HIDDEN TESTS")[0]
        if cell.cell_type == "markdown" and assignments.role(cell) == "answer":
            secret = cell.source.splitlines()
        for line in secret:
            # the formatter breaks long lines into pieces such as `assert_allclose(`: common property
            assert len(line.strip()) <= 16 or line.strip() not in shown, line
    for cell in student.cells:
        assert not re.search("SOLUTION|HIDDEN|BEGIN", cell.source)
        assert not cell.get("outputs")
    for name, cell in by_role(student, "answer").items():
        functions = sum(line.startswith("def ") for line in cell.source.splitlines())
        stub = assignments.STUBS[cell.cell_type]
        assert cell.source.count(stub) == max(1, functions), f"{name}: a function without a stub"
    run = subprocess.run(
        [sys.executable, ROOT / "tools" / "assignments.py", "--output", tmp_path / "out"],
        capture_output=True,
        text=True,
    )
    assert str(path) in run.stdout, run.stderr
    assert path.read_bytes() == first, "the same source gave another file"


def test_untouched_notebook_scores_nothing(course):
    scores = course.scores("untouched", {})
    assert {score for score, _ in scores.values()} == {0}
    assert sum(maximum for _, maximum in scores.values()) > 0


def test_solution_scores_full_marks(course, answers, source):
    """The essay has no score until a person has read it."""
    scores = course.scores("solution", answers)
    for name in by_role(source, "tests"):
        score, maximum = scores.pop(name)
        assert score == maximum, name
    assert all(score is None for score, _ in scores.values()), scores


def test_every_mistake_fails_a_hidden_test(slug, source, answers, tmp_path):
    """With the visible tests taken out, a mistake costs all points of its exercise, and of no other.

    Exercises do not depend on each other, so one submission carries a mistake in each of several exercises; between
    them the submissions show each hidden test failing and passing.
    """
    hidden_only = nbformat.from_dict(source)
    for cell in by_role(hidden_only, "tests").values():
        hidden = split(cell.source, "HIDDEN TESTS")[0]
        cell.source = "\n".join(["### BEGIN HIDDEN TESTS", *hidden, "### END HIDDEN TESTS"])
    course = Course(tmp_path, slug, hidden_only)
    tests = by_role(source, "tests")
    mistakes = MISTAKES[slug]
    assert {f"{name}-tests" for name in mistakes} == set(tests), (
        "an exercise without a mistake to be found"
    )
    most = max(len(listed) for listed in mistakes.values())
    for turn in range(most + 1):  # in the last turn no exercise has a mistake
        wrong = dict(answers)
        made = {name: listed[turn] for name, listed in mistakes.items() if turn < len(listed)}
        for name, (right, mistake) in made.items():
            assert right in wrong[name], f"{name}: {right!r} is not in the solution"
            wrong[name] = wrong[name].replace(right, mistake)
        scores, errors = course.scores(f"mistakes{turn}", wrong), course.errors(f"mistakes{turn}")
        for name in mistakes:
            score, maximum = scores[f"{name}-tests"]
            assert score == (0 if name in made else maximum), (
                f"{name}: {score} of {maximum} points with {made.get(name, 'the solution')}"
            )
        # the mistakes are found by what they compute, not because the changed code cannot run
        assert set(errors.values()) <= {"AssertionError", "FloatingPointError"}, errors


def misspell_marker(notebook):
    cell = next(iter(by_role(notebook, "tests").values()))
    cell.source = cell.source.replace("BEGIN HIDDEN TESTS", "BEGIN HIDEN TESTS").replace(
        "END HIDDEN TESTS", "END HIDEN TESTS"
    )
    return cell


def unmark_solution(notebook):
    cell = next(iter(by_role(notebook, "answer").values()))
    cell.source = re.sub(r" *### (BEGIN|END) SOLUTION\n?", "", cell.source)
    return cell


def copy_solution_into_prompt(notebook):
    cell = next(iter(by_role(notebook, "answer").values()))
    notebook.cells[0].source += "\nHint: `" + split(cell.source, "SOLUTION")[0][0].strip() + "`"
    return cell


def leave_nothing_visible(notebook):
    cell = next(iter(by_role(notebook, "tests").values()))
    cell.source = cell.source[cell.source.index("### BEGIN") :]
    return cell


@pytest.mark.parametrize(
    "spoil", [misspell_marker, unmark_solution, copy_solution_into_prompt, leave_nothing_visible]
)
def test_make_assignments_refuses_a_source_that_would_leak(spoil, tmp_path):
    """The message names the cell, and what was there before is still there, whole."""
    slug, path = next(iter(SOURCES.items()))
    shutil.copytree(path.parent, tmp_path / "sources" / slug)
    notebook = nbformat.read(path, as_version=4)
    name = spoil(notebook).metadata.nbgrader.grade_id
    nbformat.write(notebook, tmp_path / "sources" / slug / path.name)
    kept = tmp_path / "out" / slug / path.name
    kept.parent.mkdir(parents=True)
    kept.write_text("kept")
    with pytest.raises(ValueError, match=f"cell {name}:"):
        assignments.build(tmp_path / "sources", tmp_path / "out")
    assert (
        sorted(tmp_path.iterdir()) == [tmp_path / "out", tmp_path / "sources"]
        and kept.read_text() == "kept"
    )
