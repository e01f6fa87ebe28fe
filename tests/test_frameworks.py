"""The network of `dlbook.frameworks` in Keras and, where it is installed, in PyTorch, against the book's engine."""

import importlib.util

import numpy as np
import pytest
from dlbook import frameworks, nn
from dlbook.convolution import Conv2D, Flatten


@pytest.fixture(scope="module")
def beginning():
    return frameworks.start(3)


def engine_network(weights, rng):
    model = nn.Sequential(
        [
            Conv2D(1, 8, 3, 2, activation="relu", rng=rng),
            Conv2D(8, 16, 3, 2, activation="relu", rng=rng),
            Flatten(),
            nn.Dense(576, 10, rng=rng),
        ]
    )
    model.set_weights(weights)
    return model


def test_a_seed_decides_weights_order_and_held_out_images(beginning):
    weights, epoch, (images, labels) = beginning
    again, epoch_again, held_out_again = frameworks.start(3)
    assert [array.shape for array in weights] == list(frameworks.SHAPES)
    for one, other in zip(weights, again):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(images, held_out_again[0])
    first, second = epoch(0), epoch(1)
    np.testing.assert_array_equal(first[1], epoch_again(0)[1])
    assert (first[1] != second[1]).any()  # another order of the same images
    np.testing.assert_array_equal(np.bincount(first[1]), np.bincount(second[1]))
    assert len(first[0]) == frameworks.BATCH * frameworks.UPDATES
    seen = {image.tobytes() for image in first[0]}
    repeated = sum(image.tobytes() in seen for image in images)
    assert repeated < 5, "the held-out images are others; a few of the set's images are there twice"


def test_keras_computes_what_the_engine_computes(beginning):
    weights, _, (images, _) = beginning
    network = frameworks.keras_network("adam")
    network.set_weights(weights)
    expected = nn.predict(engine_network(weights, np.random.default_rng(0)), images[:20])
    np.testing.assert_allclose(np.asarray(network(images[:20])), expected, atol=1e-5)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
def test_torch_computes_what_the_engine_computes(beginning):
    import torch

    weights, _, (images, _) = beginning
    network, _ = frameworks.torch_network("sgd")
    for parameter, array in zip(network.parameters(), frameworks.torch_weights(weights)):
        assert parameter.shape == array.shape
        parameter.data = torch.tensor(np.ascontiguousarray(array))
    with torch.no_grad():
        logits = network(torch.tensor(images[:20].transpose(0, 3, 1, 2).copy())).numpy()
    expected = nn.predict(engine_network(weights, np.random.default_rng(0)), images[:20])
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_an_unknown_program_and_one_without_its_library_are_reported(monkeypatch):
    with pytest.raises(ValueError, match="unknown program 'caffe'; known are keras-tensorflow"):
        frameworks.run("caffe")
    monkeypatch.setitem(frameworks.PROGRAMS, "none", ("None", "no_such_library"))
    with pytest.raises(RuntimeError, match="None needs no_such_library, which is not installed"):
        frameworks.run("none")
