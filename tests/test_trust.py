"""Attacks and defences: against definitions written out, Keras, closed forms and hand-made cases."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from dlbook import trust
from scipy.special import expit, log_softmax, softmax
from scipy.stats import mannwhitneyu

RNG = np.random.default_rng


def linear_model():
    """Two classes; the logit of class 0 is the sum of the left half of 2×4 images, of class 1 of the right."""
    inputs = keras.Input((2, 4, 1))
    output = keras.layers.Dense(2, use_bias=False)(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, output)
    kernel = np.zeros((2, 4, 2), "float32")
    kernel[:, :2, 0] = kernel[:, 2:, 1] = 0.01
    model.set_weights([kernel.reshape(8, 2)])
    return model


def curved_model():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((5, 5, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(8, activation="tanh"),
            keras.layers.Dense(3),
        ]
    )


def loss(model, images, labels):
    logits = np.asarray(model(images), "float64")
    return -log_softmax(logits, axis=1)[np.arange(len(labels)), labels]


# Robustness


def test_fgsm_darkens_what_speaks_for_the_class_and_brightens_the_rest():
    images = np.full((2, 2, 4, 1), 100, "float32")
    changed = trust.fgsm(linear_model(), images, [0, 1], epsilon=4)
    left, right = np.array([-4, -4, 4, 4.0]), np.array([4, 4, -4, -4.0])
    np.testing.assert_array_equal(changed[0, :, :, 0] - 100, [left, left])
    np.testing.assert_array_equal(changed[1, :, :, 0] - 100, [right, right])


def test_fgsm_follows_the_gradient_of_each_images_own_loss():
    model, rng = curved_model(), RNG(0)
    images, labels = rng.uniform(0.2, 0.8, (6, 5, 5, 1)).astype("float32"), rng.integers(0, 3, 6)
    changed = trust.fgsm(model, images, labels, 0.01, high=1)
    step, slope = 1e-2, np.zeros_like(images)  # central finite differences
    for pixel in np.ndindex(5, 5):
        moved = np.zeros((5, 5, 1), "float32")
        moved[pixel] = step
        slope[:, *pixel, 0] = loss(model, images + moved, labels) - loss(
            model, images - moved, labels
        )
    clear = np.abs(slope) > 1e-5  # beyond what rounding in float32 can turn
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(np.sign(changed - images)[clear], np.sign(slope)[clear])


def test_changed_pixels_stay_within_epsilon_and_within_the_range():
    model, rng = curved_model(), RNG(1)
    images = rng.integers(0, 256, (8, 5, 5, 1)).astype("uint8")
    labels = rng.integers(0, 3, 8)
    for changed in (
        trust.fgsm(model, images, labels, 30),
        trust.pgd(model, images, labels, 30, rng=rng),
    ):
        assert changed.min() >= 0 and changed.max() <= 255
        assert np.abs(changed - images.astype("float32")).max() <= 30


def test_pgd_reaches_the_optimum_of_a_linear_model():
    images = RNG(2).uniform(60, 200, (4, 2, 4, 1)).astype("float32")
    labels = [0, 1, 0, 1]
    best = trust.fgsm(linear_model(), images, labels, 8)  # optimal there, the model being linear
    found = trust.pgd(linear_model(), images, labels, 8, steps=10, rng=RNG(0))
    np.testing.assert_allclose(found, best, atol=1e-4)


def test_pgd_raises_the_loss_at_least_as_much_as_one_step():
    model, rng = curved_model(), RNG(3)
    images, labels = rng.uniform(0, 1, (20, 5, 5, 1)).astype("float32"), rng.integers(0, 3, 20)
    once = loss(model, trust.fgsm(model, images, labels, 0.3, high=1), labels)
    often = loss(model, trust.pgd(model, images, labels, 0.3, high=1, rng=rng), labels)
    assert often.mean() > once.mean() > loss(model, images, labels).mean()


# Calibration


def test_calibration_error_by_hand():
    # two answers at 0.8, one right; one answer at 0.9, right: bins of width 0.1 up to 0.8 and 0.9
    probabilities = [[0.8, 0.2], [0.2, 0.8], [0.9, 0.1]]
    counts, confidence, accuracy = trust.reliability(probabilities, [0, 0, 0], bins=10)
    np.testing.assert_array_equal(counts, [0, 0, 0, 0, 0, 0, 0, 2, 1, 0])
    np.testing.assert_allclose(confidence[7:9], [0.8, 0.9])
    np.testing.assert_allclose(accuracy[7:9], [0.5, 1.0])
    error = trust.expected_calibration_error(probabilities, [0, 0, 0], bins=10)
    np.testing.assert_allclose(error, (2 * 0.3 + 1 * 0.1) / 3)


def test_calibration_error_is_small_for_labels_drawn_from_the_probabilities():
    rng = RNG(0)
    probabilities = softmax(rng.normal(size=(20000, 4)) * 2, axis=1)
    labels = (rng.random((20000, 1)) < probabilities.cumsum(axis=1)).argmax(axis=1)
    # standard deviation of a bin's gap is at most 0.5 / sqrt(answers in it), about 0.014 of 1300
    assert trust.expected_calibration_error(probabilities, labels) < 0.014
    sharper = softmax(3 * np.log(probabilities), axis=1)
    assert trust.expected_calibration_error(sharper, labels) > 0.1


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_temperature_is_recovered(temperature):
    rng = RNG(1)
    logits = rng.normal(size=(20000, 5)) * 2
    labels = (rng.random((20000, 1)) < softmax(logits, axis=1).cumsum(axis=1)).argmax(axis=1)
    # its standard error, from the curvature of the loss, is about 1 %
    np.testing.assert_allclose(
        trust.fit_temperature(logits * temperature, labels), temperature, rtol=0.04
    )


# The attack


def test_membership_auroc_counts_pairs():
    rng = RNG(0)
    members, others = rng.normal(0, 1, 50).round(1), rng.normal(0.5, 1, 70).round(1)
    pairs = (members[:, None] < others).mean() + 0.5 * (members[:, None] == others).mean()
    np.testing.assert_allclose(trust.membership_auroc(members, others), pairs)
    statistic = mannwhitneyu(others, members).statistic / (50 * 70)
    np.testing.assert_allclose(trust.membership_auroc(members, others), statistic)


def test_membership_hits_by_hand():
    members, others = [1.0, 2.0, 3.0, 4.0], [2.5, 5.0, 6.0, 7.0]
    assert trust.membership_hits(members, others, 0) == 0.5  # 1 and 2 lie below all others
    assert trust.membership_hits(members, others, 0.24) == 0.5
    assert trust.membership_hits(members, others, 0.25) == 1


def test_example_losses_are_keras_losses():
    logits, labels = RNG(0).normal(size=(7, 4)), RNG(1).integers(0, 4, 7)
    oracle = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")
    np.testing.assert_allclose(
        trust.example_losses(logits, labels), oracle(labels, logits), rtol=1e-5
    )


# The defence


def small_network(rng, sizes=(6, 5, 4, 3)):
    return [
        (rng.normal(size=(a, b)).astype("float32"), rng.normal(size=b).astype("float32"))
        for a, b in zip(sizes, sizes[1:])
    ]


def gradients_of_each(weights, x, labels):
    """Per-example gradients from TensorFlow: one list of arrays (kernel, bias, ...) an example."""
    variables = [tf.Variable(array) for layer in weights for array in layer]
    found = []
    for row, label in zip(x, labels):
        with tf.GradientTape() as tape:
            a = tf.constant(row[None])
            for layer in range(len(weights)):
                a = a @ variables[2 * layer] + variables[2 * layer + 1]
                a = tf.nn.relu(a) if layer < len(weights) - 1 else a
            value = tf.nn.sparse_softmax_cross_entropy_with_logits([label], a)
        found.append([g.numpy() for g in tape.gradient(value, variables)])
    return found


def backward(weights, x, labels):
    outputs = trust.dense_forward(weights, x)
    return outputs[:-1], trust.dense_deltas(weights, outputs, labels)


@pytest.mark.parametrize("clip", [1.0, np.inf])
def test_private_gradients_clip_each_example(clip):
    rng = RNG(0)
    weights = small_network(rng)
    x, labels = rng.normal(size=(9, 6)).astype("float32"), rng.integers(0, 3, 9)
    each = gradients_of_each(weights, x, labels)
    lengths = [np.sqrt(sum((g**2).sum() for g in gradients)) for gradients in each]
    assert min(lengths) < 1 < max(lengths)  # so that clipping at 1 changes some and not all
    inputs, deltas = backward(weights, x, labels)
    np.testing.assert_allclose(trust.gradient_norms(inputs, deltas), lengths, rtol=1e-4)
    found = trust.private_gradients(
        inputs, deltas, clip=clip, noise_multiplier=0, expected_batch=4, rng=rng
    )
    for number, array in enumerate(array for layer in found for array in layer):
        total = sum(g[number] * min(1, clip / length) for g, length in zip(each, lengths))
        np.testing.assert_allclose(array, total / 4, rtol=1e-3, atol=1e-5)


def test_one_example_moves_the_clipped_sum_by_at_most_the_clip():
    rng = RNG(1)
    weights = small_network(rng)
    x, labels = 100 * rng.normal(size=(9, 6)).astype("float32"), rng.integers(0, 3, 9)

    def total(part):
        return np.concatenate(
            [
                array.ravel()
                for layer in trust.private_gradients(
                    *backward(weights, x[part], labels[part]),
                    clip=0.5,
                    noise_multiplier=0,
                    expected_batch=1,
                    rng=rng,
                )
                for array in layer
            ]
        )

    for left_out in range(9):
        change = total(np.arange(9)) - total(np.delete(np.arange(9), left_out))
        assert np.linalg.norm(change) <= 0.5 * (1 + 1e-4)


def test_noise_has_the_size_that_the_accountant_is_told():
    inputs, deltas = [np.zeros((0, 300), "float32")], [np.zeros((0, 200), "float32")]
    ((kernel, bias),) = trust.private_gradients(
        inputs, deltas, clip=0.5, noise_multiplier=3, expected_batch=10, rng=RNG(0)
    )
    assert kernel.shape == (300, 200) and bias.shape == (200,)
    # 60,000 draws: the estimate's relative standard error is 0.3 %
    np.testing.assert_allclose(kernel.std(), 0.5 * 3 / 10, rtol=0.015)
    assert abs(kernel.mean()) < 0.003
    assert len(np.unique(kernel)) > 55000


def test_poisson_batch_takes_each_example_independently():
    rng = RNG(0)
    batches = [trust.poisson_batch(1000, 0.1, rng) for _ in range(2000)]
    sizes = np.array([len(batch) for batch in batches])
    # binomial: mean 100, variance 90
    assert abs(sizes.mean() - 100) < 1 and abs(sizes.var() - 90) < 12
    times = np.bincount(np.concatenate(batches), minlength=1000)
    assert times.min() > 130 and times.max() < 270  # mean 200, standard deviation 13
    assert all(len(np.unique(batch)) == len(batch) for batch in batches[:50])


def test_auroc_bound_is_the_area_under_the_two_lines():
    assert trust.auroc_bound(0) == 0.5
    alarms = np.linspace(0, 1, 100001)
    hits = np.minimum(np.exp(1.5) * alarms, 1 - np.exp(-1.5) * (1 - alarms))
    area = ((hits[1:] + hits[:-1]) / 2 * np.diff(alarms)).sum()
    np.testing.assert_allclose(trust.auroc_bound(1.5), area, atol=1e-6)
    np.testing.assert_allclose(trust.auroc_bound(2), expit(2))


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda m, x, p: trust.fgsm(m, x, [0, 1], -1), "epsilon must be at least 0, got -1"),
        (lambda m, x, p: trust.fgsm(m, x, [0], 1), "2 images but 1 labels"),
        (lambda m, x, p: trust.fgsm(m, x - 3, [0, 1], 1), "from 0 to 255, got -3"),
        (lambda m, x, p: trust.pgd(m, x, [0, 1], 1, steps=0, rng=None), "steps .* got 0"),
        (lambda m, x, p: trust.reliability(p * 2, [0, 1]), "apply softmax"),
        (lambda m, x, p: trust.reliability(p, [0]), r"\(2, 2\) and \(1,\)"),
        (lambda m, x, p: trust.reliability(p, [0, 1], bins=0), "bins must be at least 1, got 0"),
        (lambda m, x, p: trust.fit_temperature(p, [0]), r"\(2, 2\) and \(1,\)"),
        (lambda m, x, p: trust.membership_auroc([], [1.0]), "got 0 and 1"),
        (lambda m, x, p: trust.membership_auroc([np.nan], [1.0]), "1 of them not finite"),
        (lambda m, x, p: trust.membership_hits([1.0], [1.0], 2), "is a share, got 2"),
        (lambda m, x, p: trust.poisson_batch(10, 0, RNG(0)), "above 0, got 0"),
        (lambda m, x, p: private(clip=0), "got 0 and 1"),
        (lambda m, x, p: private(clip=np.inf), "give a finite clip"),
        (lambda m, x, p: private(noise_multiplier=-1), "got 1 and -1"),
        (lambda m, x, p: trust.auroc_bound(-1), "got -1"),
    ],
)
def test_bad_input_is_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong(linear_model(), np.zeros((2, 2, 4, 1), "float32"), np.full((2, 2), 0.5))


def private(clip=1, noise_multiplier=1):
    rows = [np.ones((2, 3), "float32")]
    trust.private_gradients(
        rows, rows, clip=clip, noise_multiplier=noise_multiplier, expected_batch=2, rng=RNG(0)
    )
