"""Tests of the task that asks how far back a recurrent cell remembers, and of the script that runs it."""

import memory as tool
import numpy as np
import pytest
from dlbook import load_run, memory
from dlbook.recurrent import GRU, LSTM, SimpleRNN

RNG = np.random.default_rng


@pytest.mark.parametrize("distractors", [1, 8])
def test_a_sequence_is_symbol_distractors_question(distractors):
    inputs, symbols = memory.recall_batch(3, 500, RNG(0), distractors)
    assert inputs.shape == (500, 5, 8 + distractors + 1) and inputs.dtype == "float32"
    assert (np.sort(inputs, axis=-1)[..., -2:] == [0, 1]).all()  # one-hot
    steps = inputs.argmax(axis=-1)
    assert (steps[:, 0] == symbols).all() and set(symbols) == set(range(8))
    assert set(steps[:, 1:-1].ravel()) == set(range(8, 8 + distractors))
    assert set(steps[:, -1]) == {8 + distractors}


def test_wrong_tasks_are_named():
    with pytest.raises(ValueError, match="lag: expected a whole number above 0, got 0"):
        memory.recall_batch(0, 5, RNG(0))
    with pytest.raises(ValueError, match="distractors: expected a whole number above 0, got -1"):
        memory.recall_batch(5, 5, RNG(0), -1)
    with pytest.raises(
        ValueError, match="unknown cell 'lsmt'; known are rnn, gru, lstm, lstm-long"
    ):
        memory.recall_network("lsmt", 5, RNG(0))


def test_networks_have_the_cell_and_the_biases_that_their_name_says():
    kinds = {"rnn": SimpleRNN, "gru": GRU, "lstm": LSTM, "lstm-long": LSTM}
    for cell, kind in kinds.items():
        network = memory.recall_network(cell, 20, RNG(0))
        assert type(network.layers[0]) is kind
        assert network(memory.recall_batch(20, 3, RNG(1))[0]).shape == (3, 8)
    told, untold = (memory.recall_network(cell, 20, RNG(0)) for cell in ("lstm-long", "lstm"))
    # blocks of 32: input gate, forget gate, candidate, output gate
    blocks = [-np.log(20), np.log(20), 0, 0], [0, 1, 0, 0]
    for network, expected in zip((told, untold), blocks):
        np.testing.assert_allclose(network.layers[0].bias.data, np.repeat(expected, 32), rtol=1e-6)
    for ours, theirs in zip(told.get_weights()[:2], untold.get_weights()[:2]):
        np.testing.assert_array_equal(ours, theirs)


def test_training_stops_when_everything_is_recalled_or_the_updates_are_used_up():
    accuracy, losses = memory.train_recall("rnn", 2, 0, 400)
    assert accuracy > 0.99 and len(losses) < 10
    assert losses[-1] < 0.05 <= min(losses[:-1])
    accuracy, losses = memory.train_recall("rnn", 60, 0, 40)
    assert len(losses) == 1 and accuracy < 0.9
    with pytest.raises(ValueError, match="updates is 50; expected a multiple of 40"):
        memory.train_recall("rnn", 2, 0, 50)


def test_a_network_learns_nothing_from_the_one_before():
    """One compiled model serves all: weights and optimiser have to be reset."""
    first = memory.train_recall("rnn", 5, 0, 80)
    memory.train_recall("rnn", 2, 1, 40)
    assert memory.train_recall("rnn", 5, 0, 80) == first


def test_chance_has_a_margin_of_three_standard_errors():
    # sqrt(1/8 · 7/8 / 1000) = 0.0105
    assert memory.at_chance([0.125]) and memory.at_chance([0.155]) and memory.at_chance([0.05])
    assert not memory.at_chance([0.158])
    assert memory.at_chance([0.134] * 10) and not memory.at_chance([0.137] * 10)


def test_the_script_reproduces_an_entry_of_its_file():
    """The smallest of the file's networks, up to the rounding of float32 on another machine."""
    run = load_run("memory")
    place = list(run["cells"]).index("rnn"), list(run["lags"]).index(5), 0
    accuracy, updates, curve = tool.entry("rnn", 5, 0)
    assert accuracy == pytest.approx(run["accuracy"][place], abs=0.01)
    assert updates == pytest.approx(run["updates"][place], abs=memory.PIECE)
    np.testing.assert_allclose(curve[:1], run["loss"][place][:1], rtol=0.01)


def test_what_was_not_computed_had_a_reason():
    run = load_run("memory")
    assert run["accuracy"].shape == tool.SHAPE and tuple(run["cells"]) == tuple(tool.CELLS)
    for accuracy, updates in zip(run["accuracy"], run["updates"]):
        tried = ~np.isnan(accuracy).any(axis=1)
        assert ((updates > 0).all(axis=1) == tried).all() and updates.max() <= run["most_updates"]
        last = tried.sum() - 1
        assert tried[: last + 1].all() and not np.isnan(accuracy[: last + 1]).any()
        assert last == len(accuracy) - 1 or memory.at_chance(accuracy[last])
        assert not any(memory.at_chance(row) for row in accuracy[:last])


def test_an_interrupted_run_goes_on_where_it_was_stopped(tmp_path, monkeypatch, capsys):
    calls = []
    result, partial = tmp_path / "runs" / "memory.npz", tmp_path / "_build" / "memory.npz"
    for name, value in {"RESULT": result, "PARTIAL": partial, "SEEDS": 2, "UPDATES": 40}.items():
        monkeypatch.setattr(tool, name, value)
    monkeypatch.setattr(tool, "CELLS", {"rnn": ("rnn", 8), "gru": ("gru", 8)})
    monkeypatch.setattr(tool, "LAGS", (5, 10, 20))
    monkeypatch.setattr(tool, "SHAPE", (2, 3, 2))

    def entry(name, lag, seed):
        calls.append((name, lag, seed))
        if len(calls) == 6:
            raise KeyboardInterrupt
        return (0.9 if name == "gru" or lag == 5 else 0.1), 40, np.zeros(1, "float32")

    monkeypatch.setattr(tool, "entry", entry)
    with pytest.raises(KeyboardInterrupt):
        tool.main()
    assert not result.exists() and partial.is_file()
    tool.main()
    assert len(set(calls)) == 10 and len(calls) == 11  # the one that was interrupted, twice
    with np.load(result, allow_pickle=False) as run:
        assert np.isnan(run["accuracy"][0, 2]).all() and (run["accuracy"][1] == 0.9).all()
        assert str(run["script"]) == "tools/memory.py"
    assert len(capsys.readouterr().out.splitlines()[-1]) == 64
