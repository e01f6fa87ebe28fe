"""The race of Transformer and LSTM: rows, scores, sizes, a short training, and the stored file."""

from pathlib import Path

import numpy as np
import pytest
from dlbook import language, load_run, race
from scipy.special import log_softmax

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def corpus():
    return language.moby_corpus()


def test_batches_are_the_text_and_its_continuation(corpus):
    (text,) = corpus.train
    source = race.batches(corpus.train, np.random.default_rng(0))
    strings, seen = text.astype("int32"), set()
    for _ in range(20):
        inputs, targets = next(source)
        assert inputs.shape == targets.shape == (race.BATCH, race.STEPS)
        np.testing.assert_array_equal(inputs[:, 1:], targets[:, :-1])
        seen |= {row.tobytes() for row in inputs}
    assert len(seen) == 20 * race.BATCH  # no row comes twice in an epoch
    assert targets[-1].tobytes() in strings.tobytes()


def test_every_held_out_character_is_scored_once(corpus):
    inputs, targets = race.held_out(corpus.validation, corpus.vocabulary)
    scored = targets >= 0
    np.testing.assert_array_equal(targets[scored], corpus.validation[0][1:])
    assert (scored[1:-1].argmax(axis=1) == race.STEPS // 2).all()  # so many are read before


def test_scores_equal_a_softmax_by_hand(corpus):
    model = race.network("lstm", len(corpus.symbols), corpus.vocabulary)
    rows = tuple(part[:3] for part in race.held_out(corpus.validation, corpus.vocabulary))
    found = race.log_probabilities(model, *rows, batch=2)
    logits = log_softmax(model(rows[0]).numpy().astype("float64"), axis=-1)
    for (row, step), target in np.ndenumerate(rows[1]):
        expected = logits[row, step, target] if target >= 0 else 0
        assert found[row, step] == pytest.approx(expected, abs=1e-5)  # float32
    assert race.perplexity(model, rows) == pytest.approx(np.exp(-found[rows[1] >= 0].mean()))


@pytest.mark.parametrize("kind", race.KINDS)
def test_a_short_training_learns_and_repeats(corpus, kind, monkeypatch):
    monkeypatch.setattr(race, "BATCH", 4)
    rows = tuple(part[:4] for part in race.held_out(corpus.validation, corpus.vocabulary))
    runs = [race.train(kind, 0.01, 3, 24 * 4 * race.STEPS, 3, rows)[1] for _ in range(2)]
    assert runs[0]["characters"] == [8 * 512, 16 * 512, 24 * 512]
    assert np.diff([0, *runs[0]["seconds"]]).min() > 0
    assert runs[0]["training"][-1] < 0.8 * runs[0]["training"][0]
    np.testing.assert_allclose(runs[0]["validation"], runs[1]["validation"], rtol=1e-4)


def test_an_unknown_kind_is_named():
    with pytest.raises(ValueError, match="unknown kind 'gru'; known are transformer, lstm"):
        race.network("gru", 3, 3)


def test_the_stored_race(corpus):
    run = load_run("race")
    assert (ROOT / str(run["script"])).is_file()
    sizes = []
    for kind in race.KINDS:
        model = race.network(kind, len(corpus.symbols), corpus.vocabulary)
        sizes.append(model.count_params())
        assert sizes[-1] == run[f"{kind}/parameters"]
        assert run[f"{kind}/rate"] == run[f"{kind}/rates"][run[f"{kind}/sweep"].argmin()]
        assert run[f"{kind}/sweep"].min() == run[f"{kind}/validation"][0, -1]  # of seed 0
        assert run[f"{kind}/test"].shape == (3,)
    assert abs(sizes[0] / sizes[1] - 1) < 0.02
    model = race.network("transformer", len(corpus.symbols), corpus.vocabulary)
    model.set_weights([run[f"transformer/weight{i}"] for i in range(len(model.weights))])
    inputs, targets = race.held_out(corpus.validation, corpus.vocabulary, 0)
    by_place = -race.log_probabilities(model, inputs[:-1], targets[:-1]).mean(axis=0)
    # the weights have been rounded to float16
    np.testing.assert_allclose(by_place, run["transformer/places"], atol=0.01)
