"""Maps of class evidence: on networks whose evidence is known, and against the definitions written out."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from dlbook.explain import grad_cam, occlusion

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


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda m, x: grad_cam(m, x, "dense"), r"'dense' has output shape \(None, 2\)"),
        (lambda m, x: grad_cam(m, x, "mops"), "mops"),
        (lambda m, x: occlusion(m, x, size=9), "size <= 8, got step 2, size 9"),
        (lambda m, x: occlusion(m, x, size=3, step=4), "got step 4, size 3"),
    ],
)
def test_bad_input_is_named(wrong, message):
    keras.backend.clear_session()
    with pytest.raises(ValueError, match=message):
        wrong(corner_model(), np.zeros((1, 8, 8, 1), "float32"))
