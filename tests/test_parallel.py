"""Averaging over workers against sums, and training in two processes against the engine in one."""

import subprocess
import sys
import time

import keras
import numpy as np
import psutil
import pytest
from dlbook import nn, optim, parallel
from dlbook.tensor import Tensor
from hypothesis import given
from hypothesis import strategies as st


@given(
    workers=st.integers(1, 6), size=st.integers(0, 40), number=st.integers(min_value=0, max_value=9)
)
def test_the_ring_gives_everybody_the_sum(workers, size, number):
    rng = np.random.default_rng(number)
    vectors = [rng.integers(-99, 99, size) for _ in range(workers)]
    before = [vector.copy() for vector in vectors]
    results, sent = parallel.ring_all_reduce(vectors)
    for result in results:
        np.testing.assert_array_equal(result, np.sum(vectors, axis=0))
    np.testing.assert_array_equal(vectors, before)
    assert sum(sent) == 2 * (workers - 1) * size
    if size % workers == 0:
        assert sent == [2 * (workers - 1) * size // workers] * workers


def test_vectors_of_different_length_are_refused():
    with pytest.raises(ValueError, match="one length"):
        parallel.ring_all_reduce([np.zeros(3), np.zeros(4)])


@pytest.fixture(scope="module")
def problem():
    """A small network in float64, images and labels; more steps than batches in the data."""
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(1)
    network = keras.Sequential(
        [
            keras.Input((20,), dtype="float64"),
            keras.layers.Dense(8, "tanh", dtype="float64"),
            keras.layers.Dense(5, dtype="float64"),
        ]
    )
    return network, rng.standard_normal((40, 20)), rng.integers(5, size=40)


def test_two_processes_learn_what_the_engine_learns_in_one(problem):
    network, images, labels = problem
    job = parallel.Job(network, batch_size=12, steps=7)
    (result,) = parallel.train([job], images, labels, learning_rate=0.3, workers=2)

    rng = np.random.default_rng(0)
    twin = nn.Sequential(
        [
            nn.Dense(20, 8, "tanh", rng=rng, dtype="float64"),
            nn.Dense(8, 5, rng=rng, dtype="float64"),
        ]
    )
    twin.set_weights(network.get_weights())
    optimizer = optim.SGD(twin.parameters, learning_rate=0.3)
    losses = []
    for step in range(7):
        chosen = (step * 12 + np.arange(12)) % 40
        loss = nn.cross_entropy(twin(Tensor(images[chosen])), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.data))

    # Sums in another order: a few units of the last place, 2e-16, of numbers around 1.
    np.testing.assert_allclose(result.losses, losses, rtol=0, atol=1e-13)
    for found, expected in zip(result.weights, twin.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)
    assert result.disagreement == 0
    assert result.seconds.shape == (7,) and (result.seconds > 0).all()
    moved = max(np.abs(a - b).max() for a, b in zip(result.weights, network.get_weights()))
    assert moved > 0.01


def test_shards_are_the_batch():
    job = parallel.Job(None, 12, 5)
    for step in range(5):
        parts = np.concatenate([parallel.shard(step, job, worker, 3, 40) for worker in range(3)])
        np.testing.assert_array_equal(parts, (step * 12 + np.arange(12)) % 40)


def children():
    return psutil.Process().children(recursive=True)


def test_a_failed_worker_stops_the_others_and_is_heard(problem, monkeypatch):
    """Worker 1 fails while worker 0 would wait for a minute."""
    programs = ["import time; time.sleep(60)", "raise ValueError('no such luck')"]
    monkeypatch.setattr(
        parallel, "command", lambda directory, rank: [sys.executable, "-c", programs[rank]]
    )
    network, images, labels = problem
    before = children()
    start = time.monotonic()
    with pytest.raises(RuntimeError, match=r"\[1\] failed[\s\S]*no such luck"):
        parallel.train([parallel.Job(network, 4, 1)], images, labels, learning_rate=1.0, workers=2)
    assert time.monotonic() - start < 20
    assert children() == before


def test_the_time_limit_stops_all(problem, monkeypatch):
    program = "import time; print('waiting', flush=True); time.sleep(60)"
    monkeypatch.setattr(
        parallel, "command", lambda directory, rank: [sys.executable, "-c", program]
    )
    network, images, labels = problem
    before = children()
    with pytest.raises(TimeoutError, match="not done after 1 s"):
        parallel.train(
            [parallel.Job(network, 4, 1)],
            images,
            labels,
            learning_rate=1.0,
            workers=2,
            time_limit=1,
        )
    assert children() == before


def test_a_port_that_was_taken_is_tried_again(problem, monkeypatch):
    calls = []

    def fail(*arguments):
        calls.append(arguments)
        raise RuntimeError("Address already in use")

    monkeypatch.setattr(parallel, "run_workers", fail)
    network, images, labels = problem
    with pytest.raises(RuntimeError, match="already in use"):
        parallel.train([parallel.Job(network, 4, 1)], images, labels, learning_rate=1.0)
    assert len(calls) == 3


def test_a_worker_ends_with_its_parent(tmp_path):
    """A fresh worker whose input is closed stops with code 3, before or while it loads TensorFlow."""
    (tmp_path / "task.json").write_text('{"workers": 1, "jobs": []}')
    process = subprocess.Popen(
        parallel.command(tmp_path, 0), stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    process.stdin.close()
    assert process.wait(timeout=20) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"workers": 0}, "whole number from 1"),
        ({"workers": 3}, "share equally"),
        ({"labels": np.zeros(7, int)}, "40 images but 7 labels"),
    ],
)
def test_bad_input_is_named(problem, change, message):
    network, images, labels = problem
    options = {"images": images, "labels": labels, "learning_rate": 1.0, "workers": 2} | change
    with pytest.raises(ValueError, match=message):
        parallel.train([parallel.Job(network, 4, 1)], **options)
