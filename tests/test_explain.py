"""Maps of class evidence: on networks whose evidence is known, and against the definitions written out."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from dlbook.explain import (
    completeness_error,
    grad_cam,
    guided_backpropagation,
    image_gradient,
    integrated_gradients,
    occlusion,
    randomised,
    rank_correlation,
    saliency,
)
from scipy.stats import spearmanr

RNG = np.random.default_rng


def corner_model():
    """Class 0 counts bright pixels in the upper left quarter of 8×8 images, class 1 in the lower right one."""
    inputs = keras.Input((8, 8, 1))
    maps = keras.layers.Conv2D(2, 1, use_bias=False, name="maps")(inputs)
    output = keras.layers.Dense(2, use_bias=False)(keras.layers.Flatten()(maps))
    model = keras.Model(inputs, output)
    dense = np.zeros((8, 8, 2, 2), "float32")
    dense[:4, :4, 0, 0] = dense[4:, 4:, 1, 1] = 1
    model.set_weights([np.ones((1, 1, 1, 2), "float32"), dense.reshape(128, 2)])
    return model


def random_model():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((9, 10, 1)),
            keras.layers.Conv2D(5, 3, activation="relu", name="maps"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )


def test_occlusion_finds_the_pixels_that_count():
    images = np.ones((2, 8, 8, 1), "float32")
    fall = occlusion(corner_model(), images, size=2, step=2, fill=0, classes=[0, 1])
    expected = np.zeros((2, 8, 8))
    expected[0, :4, :4] = expected[1, 4:, 4:] = 4  # each square covers four pixels that count 1
    np.testing.assert_allclose(fall, expected)


def test_occlusion_equals_its_definition_where_squares_overlap():
    model, images = random_model(), RNG(0).normal(size=(3, 9, 10, 1)).astype("float32")
    logits = model(images).numpy()
    classes = logits.argmax(axis=1)
    falls = [[[[] for _ in range(10)] for _ in range(9)] for _ in range(3)]
    for n in range(3):
        for top in (0, 3, 5):  # steps of 3, and the last place at which a square of 4 fits
            for left in (0, 3, 6):
                covered = images[n : n + 1].copy()
                covered[:, top : top + 4, left : left + 4] = images.min()
                fall = (logits[n] - model(covered).numpy()[0])[classes[n]]
                for row in range(top, top + 4):
                    for column in range(left, left + 4):
                        falls[n][row][column].append(fall)
    means = np.array([[[np.mean(cell) for cell in row] for row in image] for image in falls])
    kept = images.copy()
    np.testing.assert_allclose(
        occlusion(model, images, size=4, step=3), means, rtol=1e-4, atol=1e-5
    )
    np.testing.assert_array_equal(images, kept)


def test_grad_cam_equals_its_definition():
    model, images = random_model(), RNG(1).normal(size=(4, 9, 10, 1)).astype("float32")
    classes = [2, 0, 1, 1]
    found = grad_cam(model, images, "maps", classes)
    assert found.shape == (4, 9, 10)
    maps = model.layers[0](images)
    for n in range(4):
        with tf.GradientTape() as tape:
            tape.watch(maps)
            x = maps
            for layer in model.layers[1:]:
                x = layer(x)
            score = x[n, classes[n]]
        gradient = tape.gradient(score, maps).numpy()[n]
        evidence = np.zeros((7, 8))
        for k in range(5):
            evidence += gradient[:, :, k].mean() * maps.numpy()[n, :, :, k]
        evidence = np.maximum(evidence, 0)[..., None]
        large = tf.image.resize(evidence, (9, 10)).numpy()[..., 0]
        np.testing.assert_allclose(
            found[n], large / large.max() if large.max() > 0 else large, rtol=1e-3, atol=1e-4
        )


def test_grad_cam_explains_the_models_answer_by_default():
    model, images = random_model(), RNG(2).normal(size=(5, 9, 10, 1)).astype("float32")
    answers = model(images).numpy().argmax(axis=1)
    np.testing.assert_array_equal(
        grad_cam(model, images, "maps"), grad_cam(model, images, "maps", answers)
    )


def test_no_evidence_gives_a_map_of_zeros():
    model = corner_model()
    assert not grad_cam(model, np.zeros((1, 8, 8, 1), "float32"), "maps").any()


def smooth_model():
    """Without kinks, so that finite differences are exact enough everywhere."""
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((5, 6, 2)),
            keras.layers.Conv2D(4, 3, activation="tanh"),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )


def test_image_gradient_equals_finite_differences():
    model, images = smooth_model(), RNG(3).normal(size=(2, 5, 6, 2)).astype("float32")
    classes, step = [2, 0], 1e-2
    expected = np.zeros_like(images)
    for place in np.ndindex(5, 6, 2):
        moved = np.zeros((5, 6, 2), "float32")
        moved[place] = step
        change = model(images + moved).numpy() - model(images - moved).numpy()
        expected[:, *place] = change[[0, 1], classes] / (2 * step)
    # curvature: of the order of step² = 1e-4; rounding: 1e-7 / step
    np.testing.assert_allclose(image_gradient(model, images, classes), expected, atol=2e-4)
    np.testing.assert_allclose(
        saliency(model, images, classes), np.abs(expected).max(axis=-1), atol=2e-4
    )


def test_integrated_gradients_of_a_linear_model_are_weight_times_difference():
    images = RNG(4).uniform(size=(2, 8, 8, 1)).astype("float32")
    found = integrated_gradients(corner_model(), images, baseline=0.25, steps=1, classes=[0, 1])
    expected = np.zeros((2, 8, 8))
    expected[0, :4, :4] = images[0, :4, :4, 0] - 0.25
    expected[1, 4:, 4:] = images[1, 4:, 4:, 0] - 0.25
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_integrated_gradients_of_a_square_are_known():
    inputs = keras.Input((1, 3, 1))
    squares = keras.layers.Lambda(
        lambda x: tf.reshape(x**2, (-1, 3)) @ tf.constant([[1.0], [2], [0]])
    )
    model = keras.Model(inputs, squares(inputs))
    images = np.array([[3.0, 2, 1]], "float32").reshape(1, 1, 3, 1)
    maps = integrated_gradients(model, images, baseline=1)
    # each part of a sum of functions of one pixel is that function's difference: 9 - 1, 2 (4 - 1), 0
    np.testing.assert_allclose(maps[0, 0], [8, 6, 0], rtol=1e-5)
    assert completeness_error(model, images, maps, baseline=1) < 1e-5
    np.testing.assert_allclose(
        completeness_error(model, images, maps * 1.5, baseline=1), 0.5, rtol=1e-5
    )


def test_integrated_gradients_become_complete_with_steps():
    model, images = smooth_model(), RNG(5).normal(size=(4, 5, 6, 2)).astype("float32")
    errors = [
        completeness_error(model, images, integrated_gradients(model, images, steps=steps))
        for steps in (1, 5, 50)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-3  # the midpoint rule's error falls with the square of the steps


def test_guided_backpropagation_cuts_at_each_relu():
    model, images = random_model(), RNG(6).normal(size=(3, 9, 10, 1)).astype("float32")
    classes = [0, 1, 2]
    found = guided_backpropagation(model, images, classes)
    conv, pool, _, dense = model.layers
    kernel = conv.kernel.numpy()
    z = tf.nn.conv2d(images, kernel, 1, "VALID") + conv.bias
    a = tf.nn.relu(z)
    with tf.GradientTape() as tape:
        tape.watch(a)
        logits = dense(tf.reshape(pool(a), (3, -1)))
        score = tf.reduce_sum(tf.gather(logits, classes, axis=1, batch_dims=1))
    upstream = tape.gradient(score, a).numpy()
    kept = upstream * (upstream > 0) * (z.numpy() > 0)
    expected = tf.nn.conv2d_transpose(kept, kernel, images.shape, 1, "VALID").numpy()[..., 0]
    np.testing.assert_allclose(found, np.abs(expected), rtol=1e-3, atol=1e-5)
    assert not np.allclose(found, saliency(model, images, classes))


def test_guided_backpropagation_finds_relu_layers_too():
    keras.utils.set_random_seed(2)
    inside = random_model()
    outside = keras.Sequential(
        [
            keras.Input((9, 10, 1)),
            keras.layers.Conv2D(5, 3),
            keras.layers.ReLU(),
            *(layer.__class__.from_config(layer.get_config()) for layer in inside.layers[1:]),
        ]
    )
    outside.set_weights(inside.get_weights())
    images = RNG(7).normal(size=(2, 9, 10, 1)).astype("float32")
    before = outside(images).numpy()
    np.testing.assert_allclose(
        guided_backpropagation(outside, images), guided_backpropagation(inside, images), rtol=1e-4
    )
    np.testing.assert_array_equal(outside(images).numpy(), before)


def test_randomised_forgets_what_it_is_told():
    model = random_model()
    copy = randomised(model, ["maps"])
    kept = [np.array_equal(old, new) for old, new in zip(model.get_weights(), copy.get_weights())]
    assert kept == [
        False,
        True,
        True,
        True,
    ]  # the convolution's bias starts at 0, as the model's is
    whole = randomised(model)
    assert not np.array_equal(whole.layers[-1].kernel, model.layers[-1].kernel)
    assert not np.array_equal(randomised(model).layers[0].kernel, whole.layers[0].kernel)


def test_rank_correlation_is_spearmans():
    rng = RNG(8)
    maps, others = rng.normal(size=(4, 5, 6)).round(1), rng.normal(size=(4, 5, 6)).round(1)
    others[1] = np.exp(maps[1])
    others[2] = -maps[2]
    found = rank_correlation(maps, others)
    expected = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(maps, others)]
    np.testing.assert_allclose(found, expected)
    np.testing.assert_allclose(found[1:3], [1, -1])
    others[3] = 0
    assert np.isnan(rank_correlation(maps, others)[3])


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda m, x: grad_cam(m, x, "dense"), r"'dense' has output shape \(None, 2\)"),
        (lambda m, x: grad_cam(m, x, "mops"), "mops"),
        (lambda m, x: occlusion(m, x, size=9), "size <= 8, got step 2, size 9"),
        (lambda m, x: occlusion(m, x, size=3, step=4), "got step 4, size 3"),
        (lambda m, x: integrated_gradients(m, x, steps=0), "at least 1, got 0"),
        (lambda m, x: randomised(m, ["mops"]), "no layer 'mops'; there are .*maps"),
        (lambda m, x: rank_correlation(x, x), r"got shapes \(1, 8, 8, 1\)"),
    ],
)
def test_bad_input_is_named(wrong, message):
    keras.backend.clear_session()
    with pytest.raises(ValueError, match=message):
        wrong(corner_model(), np.zeros((1, 8, 8, 1), "float32"))
