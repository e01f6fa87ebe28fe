"""Counts against Keras and against definitions; quantisation, pruning and distillation against closed forms."""

import os
import sys

import keras
import numpy as np
import pytest
from dlbook import convolution, efficiency, nn
from hypothesis import given
from hypothesis import strategies as st

layers = keras.layers


def convolutional():
    return keras.Sequential(
        [
            keras.Input((9, 8, 3)),
            layers.Conv2D(4, 3, 2, "same"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.DepthwiseConv2D(3, padding="valid"),
            layers.Flatten(),
            layers.Dense(7),
        ]
    )


def test_counts_of_keras_layers():
    network = convolutional()
    costs = efficiency.layer_costs(network)
    assert sum(cost.parameters for cost in costs) == network.count_params()
    work = {cost.name.rsplit("_", 1)[0]: cost.multiply_adds for cost in costs}
    # By hand: places × taps × channels in × filters.
    by_hand = [5 * 4 * 9 * 3 * 4, 0, 0, 3 * 2 * 9 * 4, 0, 24 * 7]
    assert [cost.multiply_adds for cost in costs] == by_hand, work
    assert costs[0].output_shape == (5, 4, 4) and costs[0].values == 80


def test_counts_agree_with_tensorflow_s_profiler():
    """TensorFlow counts two operations for a multiply-add, and the bias additions separately."""
    import tensorflow as tf
    from tensorflow.python.profiler.model_analyzer import profile
    from tensorflow.python.profiler.option_builder import ProfileOptionBuilder

    network = keras.Sequential(
        [
            keras.Input((12, 12, 2)),
            layers.Conv2D(5, 3, padding="same", use_bias=False),
            layers.Flatten(),
            layers.Dense(6, use_bias=False),
        ]
    )
    function = tf.function(network).get_concrete_function(tf.TensorSpec((1, 12, 12, 2)))
    options = ProfileOptionBuilder(ProfileOptionBuilder.float_operation()).with_empty_output()
    with efficiency.quiet():
        total = profile(function.graph, options=options.build()).total_float_ops
    assert total == 2 * sum(cost.multiply_adds for cost in efficiency.layer_costs(network))


def test_counts_of_the_engine_are_those_of_keras():
    rng = np.random.default_rng(0)
    twin = keras.Sequential(
        [
            keras.Input((10, 10, 2)),
            layers.Conv2D(3, 3, 2, "same"),
            layers.Flatten(),
            layers.Dense(4),
        ]
    )
    engine = nn.Sequential(
        [
            convolution.Conv2D(2, 3, 3, 2, "same", rng=rng),
            convolution.Flatten(),
            nn.Dense(75, 4, rng=rng),
        ]
    )
    found = efficiency.layer_costs(engine, (10, 10, 2))
    assert [cost[1:] for cost in found] == [cost[1:] for cost in efficiency.layer_costs(twin)]
    with pytest.raises(ValueError, match="input_shape"):
        efficiency.layer_costs(engine)


def test_unknown_kernels_are_refused():
    network = keras.Sequential([keras.Input((5, 3)), layers.LSTM(4)])
    with pytest.raises(TypeError, match="LSTM"):
        efficiency.layer_costs(network)


def test_working_memory_is_the_largest_pair():
    cost = lambda values, work: efficiency.LayerCost("", (values,), 0, work)
    assert efficiency.working_memory([cost(50, 1), cost(50, 0), cost(70, 1), cost(2, 1)], 10) == 120


@given(st.lists(st.integers(0, 30), min_size=1, max_size=4), st.floats(0, 0.99))
def test_masks_keep_the_largest(sizes, share):
    rng = np.random.default_rng(3)
    weights = [rng.standard_normal((size, 2)) for size in sizes]
    masks = efficiency.magnitude_masks(weights, share)
    flat = np.concatenate([np.ravel(array) for array in weights])
    kept = np.concatenate([np.ravel(mask) for mask in masks]).astype(bool)
    assert [mask.shape for mask in masks] == [array.shape for array in weights]
    assert (~kept).sum() == int(share * flat.size)
    if kept.any() and (~kept).any():
        assert abs(flat[kept]).min() >= abs(flat[~kept]).max()
    by_lot = efficiency.random_masks(weights, share, rng)
    assert sum(mask.sum() for mask in by_lot) == kept.sum()


def test_a_share_of_one_is_refused():
    with pytest.raises(ValueError, match="share"):
        efficiency.magnitude_masks([np.ones(3)], 1)


numbers = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50)


@given(numbers, st.integers(2, 8))
def test_quantisation_errs_by_half_a_step_at_most(values, bits):
    values = np.array(values)
    integers, scale, zero_point = efficiency.quantise(values, bits)
    assert integers.min() >= -(2 ** (bits - 1)) and integers.max() < 2 ** (bits - 1)
    error = np.abs(efficiency.dequantise(integers, scale, zero_point) - values)
    assert (error <= scale / 2 * (1 + 1e-9)).all()
    # Zero is exact, whatever the range.
    assert efficiency.dequantise(zero_point.astype("int8"), scale, zero_point) == 0


def test_quantisation_is_tensorflow_s():
    """TensorFlow's fake quantisation nudges the range in the same way, in float32."""
    import tensorflow as tf

    values = np.random.default_rng(0).normal(0.3, 1, 500).astype("float32")
    low, high = float(min(values.min(), 0)), float(max(values.max(), 0))
    expected = tf.quantization.fake_quant_with_min_max_args(values, low, high).numpy()
    found = efficiency.dequantise(*efficiency.quantise(values))
    step = (high - low) / 255
    # A value in the middle between two steps may fall either way.
    assert np.mean(np.abs(found - expected) < 1e-5) > 0.99
    assert np.abs(found - expected).max() < 1.01 * step


def test_scales_along_an_axis():
    values = np.random.default_rng(0).standard_normal((3, 4, 5)) * np.arange(1, 6)
    integers, scale, zero_point = efficiency.quantise(values, axis=-1)
    assert scale.shape == zero_point.shape == (1, 1, 5)
    for index in range(5):
        alone = efficiency.quantise(values[..., index])
        np.testing.assert_array_equal(integers[..., index], alone[0])
        np.testing.assert_allclose(scale[0, 0, index], alone[1].item())


@pytest.mark.parametrize(
    ("values", "bits"), [([1.0], 1), ([1.0], 9), ([], 8), ([np.nan], 8), ([np.inf], 8)]
)
def test_what_cannot_be_quantised_is_refused(values, bits):
    with pytest.raises(ValueError):
        efficiency.quantise(np.array(values), bits)


def test_distillation_by_the_definition():
    rng = np.random.default_rng(0)
    logits, teacher = rng.standard_normal((2, 6, 4)) * 3
    labels = rng.integers(4, size=6)
    softmax = lambda z: np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    hard = -np.log(softmax(logits)[np.arange(6), labels]).mean()
    soft = -(softmax(teacher / 4) * np.log(softmax(logits / 4))).sum(axis=1).mean()
    found = float(efficiency.distillation_loss(logits, teacher, labels, 4.0, 0.3))
    assert found == pytest.approx(0.7 * hard + 0.3 * 16 * soft, rel=1e-5)
    assert float(efficiency.distillation_loss(logits, teacher, labels, 4.0, 0.0)) == pytest.approx(
        hard, rel=1e-5
    )


def test_the_teacher_s_gradient_keeps_its_size():
    """For large T it tends to (centred student - centred teacher) / classes: Hinton et al., equation 4."""
    import tensorflow as tf

    rng = np.random.default_rng(1)
    student, teacher = (tf.constant(z) for z in rng.standard_normal((2, 1, 5)))
    with tf.GradientTape() as tape:
        tape.watch(student)
        loss = efficiency.distillation_loss(student, teacher, np.array([0]), 1e4, 1.0)
    centred = lambda z: z.numpy() - z.numpy().mean()
    np.testing.assert_allclose(
        tape.gradient(loss, student), (centred(student) - centred(teacher)) / 5, atol=1e-4
    )


def test_bad_temperature_is_refused():
    with pytest.raises(ValueError, match="temperature"):
        efficiency.distillation_loss(np.zeros((1, 2)), np.zeros((1, 2)), np.array([0]), 0, 0.5)


def test_latency_counts_calls():
    calls = []
    assert efficiency.latency(lambda: calls.append(1), 5, warm_up=2).shape == (5,)
    assert len(calls) == 7


def test_quiet_swallows_what_is_below_python(capfd):
    with efficiency.quiet():
        os.write(2, b"chatter\n")
    os.write(2, b"news\n")
    assert capfd.readouterr().err == "news\n"


def test_quiet_tells_when_something_fails(capfd):
    with pytest.raises(ValueError, match="broken"), efficiency.quiet():
        os.write(2, b"the reason\n")
        raise ValueError("broken")
    sys.stderr.flush()
    assert "the reason" in capfd.readouterr().err


def test_litert_gives_keras_s_numbers(tmp_path):
    pytest.importorskip("ai_edge_litert")
    import tensorflow as tf

    network = convolutional()
    with efficiency.quiet():
        network.export(
            tmp_path / "network.tflite",
            format="litert",
            verbose=False,
            input_signature=[tf.TensorSpec((1, 9, 8, 3))],
        )
    lite = efficiency.LiteNetwork((tmp_path / "network.tflite").read_bytes())
    example = np.random.default_rng(0).standard_normal((1, 9, 8, 3)).astype("float32")
    np.testing.assert_allclose(lite(example), network(example), atol=1e-5)
