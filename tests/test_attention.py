"""Attention, layer normalisation and the decoder: against Keras, SciPy, finite differences, and what a mask promises.

Against formulas in float64 the engine differs by rounding only. Keras computes a softmax
and the moments of a layer in float32 in places, so it is met to six digits.
"""

import keras
import numpy as np
import pytest
from dlbook import attention as A
from dlbook import nn, race
from dlbook.recurrent import Embedding
from dlbook.tensor import Tensor, numerical_gradient
from scipy.spatial.transform import Rotation
from scipy.special import softmax

RNG = np.random.default_rng
OPTIONS = {"rng": RNG(0), "dtype": "float64"}


def randomise(parameters, seed=0):
    rng = RNG(seed)
    for parameter in parameters:
        parameter.data = rng.normal(0, 0.5, parameter.shape)


def test_attention_equals_its_formula():
    rng = RNG(1)
    query, key, value = rng.normal(size=(3, 5)), rng.normal(size=(4, 5)), rng.normal(size=(4, 2))
    weights = softmax(query @ key.T / np.sqrt(5), axis=1)
    output, found = A.attention(query, key, value)
    np.testing.assert_allclose(found.data, weights, rtol=1e-12)
    np.testing.assert_allclose(output.data, weights @ value, rtol=1e-12)


def test_a_hidden_key_counts_as_if_it_were_not_there():
    rng = RNG(2)
    query, key, value = rng.normal(size=(3, 5)), rng.normal(size=(4, 5)), rng.normal(size=(4, 2))
    seen = np.array([True, False, True, True])
    output, weights = A.attention(query, key, value, mask=seen)
    assert (weights.data[:, 1] == 0).all()
    np.testing.assert_allclose(output.data, A.attention(query, key[seen], value[seen])[0].data)


@pytest.mark.parametrize("causal", [False, True])
def test_multi_head_attention_equals_keras(causal):
    layer = A.MultiHeadAttention(2, 3, 8, **OPTIONS)
    randomise(layer.parameters)
    twin = keras.layers.MultiHeadAttention(2, 3, dtype="float64")
    query = RNG(3).normal(size=(2, 5, 8))
    value = query if causal else RNG(4).normal(size=(2, 7, 8))
    twin.build(query.shape, value.shape)
    assert [tuple(w.shape) for w in twin.weights] == [p.shape for p in layer.parameters]
    twin.set_weights([parameter.data for parameter in layer.parameters])
    output, scores = twin(query, value, use_causal_mask=causal, return_attention_scores=True)
    mask = A.causal_mask(5) if causal else None
    found, weights = layer(Tensor(query), Tensor(value), mask, return_attention_scores=True)
    np.testing.assert_allclose(found.data, output, atol=1e-6)
    np.testing.assert_allclose(weights.data, scores, atol=1e-6)
    if causal:
        np.testing.assert_array_equal(layer(Tensor(query), mask=mask).data, found.data)


def test_layer_normalization_equals_keras():
    layer = A.LayerNormalization(6, dtype="float64")
    randomise(layer.parameters)
    twin = keras.layers.LayerNormalization(dtype="float64")
    twin.build((None, None, 6))
    twin.set_weights([parameter.data for parameter in layer.parameters])
    x = RNG(5).normal(3, 2, size=(2, 4, 6))
    np.testing.assert_allclose(layer(Tensor(x)).data, twin(x), atol=1e-5)
    layer.gamma.data, layer.beta.data = np.ones(6), np.zeros(6)
    expected = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 0.001)
    np.testing.assert_allclose(layer(Tensor(x)).data, expected, atol=1e-12)


@pytest.mark.parametrize("causal", [False, True])
def test_gradients_of_a_block(causal):
    block = A.DecoderBlock(4, 2, causal, **OPTIONS)
    randomise(block.parameters)
    x = Tensor(RNG(6).normal(size=(2, 3, 4)), requires_grad=True)
    weights = RNG(7).normal(size=x.shape)

    def loss():
        return (block(x) * weights).sum()

    loss().backward()
    for tensor in (x, *block.parameters):
        expected = numerical_gradient(lambda: loss().data, tensor.data)
        np.testing.assert_allclose(tensor.grad, expected, atol=1e-6)  # error of the differences


def decoder(symbols=7, width=8, causal=True):
    layers = [
        Embedding(symbols, width, **OPTIONS),
        A.Positions(),
        A.DecoderBlock(width, 2, causal, **OPTIONS),
        A.DecoderBlock(width, 2, causal, **OPTIONS),
        A.LayerNormalization(width, 1e-5, dtype="float64"),
        nn.Dense(width, symbols, **OPTIONS),
    ]
    model = nn.Sequential(layers)
    randomise(model.parameters)
    return model


def test_a_causal_decoder_does_not_see_the_future():
    text = RNG(8).integers(7, size=(3, 9))
    for place in range(9):
        other = text.copy()
        other[:, place] = (text[:, place] + 1) % 7
        before, after = decoder()(text).data, decoder()(other).data
        np.testing.assert_array_equal(before[:, :place], after[:, :place])
        assert (before[:, place:] != after[:, place:]).all()
    assert (decoder(causal=False)(text).data != decoder(causal=False)(other).data).all()


def test_without_positions_order_does_not_matter():
    block = A.DecoderBlock(4, 2, causal=False, **OPTIONS)
    randomise(block.parameters)
    x, order = RNG(9).normal(size=(1, 6, 4)), RNG(10).permutation(6)
    shuffled = block(Tensor(x[:, order])).data
    np.testing.assert_allclose(shuffled, block(Tensor(x)).data[:, order], atol=1e-12)


def test_a_shift_of_positions_is_a_rotation():
    table = A.sinusoidal_positions(50, 8)
    np.testing.assert_allclose(table[7, 2:4], [np.sin(0.7), np.cos(0.7)])
    for pair, frequency in enumerate([1, 0.1, 0.01, 0.001]):
        turn = Rotation.from_euler("z", -5 * frequency).as_matrix()[:2, :2]
        columns = table[:, 2 * pair : 2 * pair + 2]
        np.testing.assert_allclose(columns[5:], columns[:-5] @ turn.T, atol=1e-12)


def test_the_race_network_is_the_engine_s():
    """Its Keras layers and the engine's decoder give the same logits from the same weights."""
    model = race.network("transformer", 7, 7, width=8, heads=2)
    twin = decoder()
    arrays = [weight.astype("float32") for weight in twin.get_weights()]
    assert [w.shape for w in model.get_weights()] == [a.shape for a in arrays]
    model.set_weights(arrays)
    text = RNG(11).integers(7, size=(2, 10))
    np.testing.assert_allclose(model(text), twin(text).data, atol=2e-5)  # float32


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda: A.attention(np.ones((2, 3)), np.ones((2, 4)), np.ones((2, 4))), "query"),
        (lambda: A.sinusoidal_positions(4, 3), "even, got 3"),
        (lambda: A.LayerNormalization(3)(Tensor(np.ones((2, 4)))), r"LayerNormalization\(3\)"),
        (lambda: A.DecoderBlock(5, 2, rng=RNG(0)), "multiple of num_heads, got 5 and 2"),
        (lambda: A.causal_mask(0), "steps"),
    ],
)
def test_wrong_input_is_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()
