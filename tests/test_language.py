"""Language models: against dictionaries that follow the page's formula symbol by symbol."""

import hashlib
import itertools
import math
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
import train_text
from dlbook import data, language
from dlbook.language import KneserNey, TiedLSTM, corpus, cut, draw, perplexity, with_temperature


def dictionary_model(texts, n, vocabulary, discounts="one"):
    """p(w | context) as the page defines it, with strings as tuples and counts as dicts."""
    padded = [["|"] * (n - 1) + list(text) for text in texts]

    def predicted(symbol):
        return symbol != "|" and symbol < vocabulary

    def strings_of(length):  # those that end where a string of length n could
        return [
            tuple(text[i - length + 1 : i + 1])
            for text in padded
            for i in range(n - 1, len(text))
            if predicted(text[i])
        ]

    kappa = {n: Counter(strings_of(n))}
    for m in range(n - 1, 0, -1):
        kappa[m] = Counter()
        for r in {string for string in strings_of(m)}:
            kappa[m][r] = len({string[0] for string in set(strings_of(m + 1)) if string[1:] == r})

    def discount(m, count):
        if discounts not in ("one", "three"):
            return discounts if count else 0
        of = [sum(value == k for value in kappa[m].values()) for k in range(5)]
        if of[1] == 0 or of[2] == 0:
            return 0.5 if count else 0
        y = of[1] / (of[1] + 2 * of[2])
        modified = [k - (k + 1) * y * of[k + 1] / of[k] if of[k] else 0 for k in (1, 2, 3)]
        three = discounts == "three" and min(modified) > 0
        return 0 if count == 0 else modified[min(count, 3) - 1] if three else y

    def p(m, w, s):
        if m == 0:
            return 1 / vocabulary
        follow = {r[-1]: count for r, count in kappa[m].items() if r[:-1] == s}
        shorter = p(m - 1, w, s[1:])
        if not follow:
            return shorter
        kept = follow.get(w, 0) - discount(m, follow.get(w, 0))
        taken = sum(discount(m, count) for count in follow.values())
        return (kept + taken * shorter) / sum(follow.values())

    def probability(w, text):
        context = (["|"] * (n - 1) + list(text))[len(text) :]
        return p(n, w, tuple(context))

    return probability


def numbers(text, alphabet):
    return np.array([alphabet.index(character) for character in text])


TEXTS = {
    # "|" stands for a symbol that is only read, "e" never occurs
    "abracadabra": ([numbers("abracadabra", "abcdre")], 6),
    "two texts": ([numbers(text, "abcdre|") for text in ("|abra|cada", "|bra|abba|")], 6),
    "random": (
        [np.random.default_rng(seed).zipf(1.3, 300).clip(1, 30) - 1 for seed in range(2)],
        29,  # the last of the 30 symbols is only read
    ),
}


@pytest.mark.parametrize("discounts", ["one", "three", 0.75])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("name", TEXTS)
def test_kneser_ney_is_the_formula_of_the_page(name, order, discounts):
    texts, vocabulary = TEXTS[name]
    model = KneserNey(texts, order, vocabulary, discounts)
    oracle = dictionary_model([text.tolist() for text in texts], order, vocabulary, discounts)
    rng = np.random.default_rng(order)
    contexts = [[], texts[0][:1], *(rng.integers(0, vocabulary + 1, k) for k in (1, 2, 3, 5))]
    contexts += [texts[-1][:k] for k in (3, 7)]
    if vocabulary == 6 and len(texts) == 1:
        contexts = [c for c in contexts if max([*c, 0]) < 6] + list(
            itertools.product(range(6), repeat=2)
        )
    for context in contexts:
        found = model.distribution(context)
        expected = [oracle(w, [int(s) for s in context]) for w in range(vocabulary)]
        # sums of at most `order` products of numbers of order 1
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)
        assert found.sum() == pytest.approx(1, abs=1e-12) and found.min() > 0


@pytest.mark.parametrize("discounts", ["one", "three"])
def test_log_probabilities_are_those_of_one_place_after_another(discounts):
    texts, vocabulary = TEXTS["random"]
    model = KneserNey(texts[:2], 3, vocabulary, discounts)
    expected = [
        math.log(model.distribution(text[:i])[symbol])
        for text in texts
        for i, symbol in enumerate(text)
        if symbol < vocabulary
    ]
    np.testing.assert_allclose(model.log_probabilities(texts), expected, rtol=1e-12)


def test_three_discounts_are_tried_in_the_random_texts():
    texts, vocabulary = TEXTS["random"]
    found, one = (KneserNey(texts, 4, vocabulary, kind).discounts for kind in ("three", "one"))
    differ = [not np.array_equal(three, single) for three, single in zip(found, one, strict=True)]
    assert differ == [True, True, True, False]  # the last has too few strings for three
    assert [len(set(discount[1:])) for discount in found] == [3, 3, 3, 1]
    assert [len(set(discount[1:])) for discount in one] == [1] * 4


def test_without_a_discount_the_first_surprise_is_infinite():
    model = KneserNey([np.array([0, 1, 0, 1])], 2, 3, discounts=0)
    assert model.distribution([0]).tolist() == [0, 1, 0]
    assert perplexity(model.log_probabilities([np.array([0, 1, 2])])) == math.inf


def test_a_symbol_counts_by_its_different_predecessors():
    """Francisco after San only, however often: a worse guess than a symbol of many contexts."""
    san, francisco, glass = 0, 1, 2
    text = np.array([san, francisco] * 20 + [3, glass, 4, glass, 5, glass])
    p = KneserNey([text], 2, 7).distribution([6])
    assert p[glass] > 2 * p[francisco]


def test_kneser_ney_refuses_what_it_cannot_count():
    text = [np.array([0, 1])]
    with pytest.raises(ValueError, match="order must be a whole number above 0, got 0"):
        KneserNey(text, 0, 2)
    with pytest.raises(ValueError, match="discounts must be 'one', 'three' or a number.*got 2"):
        KneserNey(text, 1, 2, discounts=2)
    with pytest.raises(ValueError, match="no symbol that is to be predicted"):
        KneserNey([np.array([3, 4])], 2, 3)


def test_perplexity_of_uniform_guessing_is_the_number_of_symbols():
    assert perplexity(np.log(np.full(10, 1 / 8))) == pytest.approx(8)
    assert perplexity(np.log([0.5, 0.125])) == pytest.approx(4)  # the geometric mean
    assert perplexity([0.0]) == 1
    with pytest.raises(ValueError, match="at least one"):
        perplexity([])


def test_temperature_is_a_power_of_the_probabilities():
    logits = np.random.default_rng(0).normal(size=(3, 5)) * 4
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for temperature in (0.3, 1, 2.5):
        power = p ** (1 / temperature)
        expected = power / power.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(with_temperature(logits, temperature), expected, rtol=1e-12)
    assert with_temperature([1000.0, 0.0], 1).tolist() == [1, 0]  # no overflow
    for temperature in (0, -1, math.nan):
        with pytest.raises(ValueError, match="temperature must be above 0"):
            with_temperature(logits, temperature)


def test_symbols_are_drawn_as_often_as_their_probability_says():
    p = np.array([0.1, 0.0, 0.6, 0.3])
    drawn = draw(np.tile(p, (100_000, 1)), np.random.default_rng(0))
    shares = np.bincount(drawn, minlength=4) / 100_000
    np.testing.assert_allclose(shares, p, atol=0.006)  # four standard errors
    assert shares[1] == 0
    assert draw(p, np.random.default_rng(0)).shape == ()


def test_corpus_counts_only_the_training_part():
    made = corpus([["aabbc|", "abd"], ["acd|"], ["|xb"]], least=2, read=["|"])
    assert made.symbols == (language.UNKNOWN, "a", "b", "|")
    assert made.vocabulary == 3
    assert [text.tolist() for text in made.train] == [[1, 1, 2, 2, 0, 3], [1, 2, 0]]
    assert [text.tolist() for text in made.validation + made.test] == [[1, 0, 0, 3], [3, 0, 2]]
    assert made.decode(made.train[0]) == "aabb\N{REPLACEMENT CHARACTER}|"


def test_every_symbol_but_the_first_is_a_target_once():
    rng = np.random.default_rng(0)
    texts = [rng.integers(0, 6, size) for size in (1, 2, 7, 8, 9, 30, 31)]
    for length, warm_up in ((7, 0), (7, 3), (7, 6), (40, 10)):
        inputs, targets = cut(texts, 4, length, warm_up)
        expected = [s for text in texts for s in text[1:] if s < 4]
        assert inputs.shape == targets.shape and inputs.shape[1] == length
        assert targets[targets >= 0].tolist() == expected
        # a target comes right after its input and has warm_up symbols before that
        for row, goal in zip(inputs, targets):
            ends = np.flatnonzero((goal[:-1] >= 0) & (row[1:] != 0))
            assert (row[1:][ends] == goal[ends]).all()
    with pytest.raises(ValueError, match="warm_up must be from 0 to length - 1 = 6, got 7"):
        cut(texts, 4, 7, 7)


def test_quatrains_are_split_by_poem_once_and_for_all():
    parts = language.tang_texts()
    assert [len(part) for part in parts] == [12_070, 670, 670]
    texts = [text for part in parts for text in part]
    quatrains = data.load("tang-quatrains")
    expected = Counter("".join(poem.lines) for poem in quatrains.five + quatrains.seven)
    assert Counter("".join(c for c in text if c not in "⑤⑦，。") for text in texts) == expected
    for text in texts:
        size = {"⑤": 5, "⑦": 7}[text[0]]
        assert [text[1 + i * (size + 1) :][:size].isalpha() for i in range(4)] == [True] * 4
        assert text[size + 1 :: size + 1] == "，。，"
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()
    assert digest == "2d153235af8125113acd9c63618f3a556b2400b1fdaadd7ba3da301b20461de8"


def test_novel_is_split_by_chapter():
    parts = [text for (text,) in language.moby_texts()]
    chapters = data.load("moby-dick").chapters
    words = [" ".join(chapters[a:b]).split() for a, b in ((0, 108), (108, 121), (121, 135))]
    assert [part.removeprefix("¶").split() for part in parts] == words
    assert all(part[0] == "¶" and "\n\n" not in part and "  " not in part for part in parts)
    assert parts[0].startswith("¶CHAPTER 1. Loomings.\nCall me Ishmael. Some years ago—never mind")
    made = language.moby_corpus()
    assert made.vocabulary == len(made.symbols) - 1 and made.symbols[-1] == "¶"
    found, expected = made.decode(made.validation[0]), parts[1]
    differ = {b for a, b in zip(found, expected, strict=True) if a != b}
    assert differ == {"[", "]"} and found.count(language.UNKNOWN) == 2  # too rare in training


SMALL = train_text.COMMON | {
    "width": 5, "units": 7, "dropout": 0.3, "rate": 0.003, "limit": 0.05,
    "batch": 4, "steps": 6, "warm_up": 3, "updates": 4, "every": 2,
    "bias": "frequencies",
}  # fmt: skip


@pytest.fixture
def small_run(monkeypatch):
    """A run of the script on a few lines of the novel."""
    parts = [[text[:2000] for text in part] for part in language.moby_texts()]
    made = corpus(parts, least=10, read=(language.START,))
    monkeypatch.setattr(language, "moby_corpus", lambda: made)
    lines = []
    return made, train_text.train("moby", SMALL, report=lines.append), lines


def test_long_run_keeps_the_best_weights_and_says_how_good_they_are(small_run):
    made, run, lines = small_run
    assert run["updates"].tolist() == [2, 4] and len(lines) == 2
    assert (np.diff(run["seconds"]) > 0).all()
    assert run["best"] == run["updates"][run["validation"].argmin()]
    assert all(run[name].dtype == np.float16 for name in train_text.WEIGHTS)
    network = TiedLSTM(run, "float64")
    for part, stated in (("test", run["test"]), ("validation", run["validation"].min())):
        rows = cut(getattr(made, part), made.vocabulary, 18, 3)
        found = network.log_probabilities(*rows, batch=50)
        np.testing.assert_allclose(found, run[f"log_{part}"], atol=1e-5)
        found = perplexity(found)
        # the curve was measured before the weights were rounded to float16
        assert found == pytest.approx(float(stated), rel=1e-5 if part == "test" else 1e-3)


def test_engine_and_keras_give_the_same_logits(small_run):
    made, run, _ = small_run
    keras_network = train_text.Network(len(made.symbols), made.vocabulary, 5, 7, 0.3, 0.05)
    inputs = np.random.default_rng(0).integers(0, len(made.symbols), (3, 8)).astype("int32")
    zero = [tf.zeros((3, 7))] * 2
    everywhere = np.zeros((3, 8), "int32")
    keras_network(inputs, zero, everywhere)
    for variable, name in zip(keras_network.arrays(), train_text.WEIGHTS, strict=True):
        variable.assign(run[name].astype("float32"))
    expected, state = keras_network(inputs, zero, everywhere)
    network = TiedLSTM(run)
    h, found_state = network.states(inputs)
    np.testing.assert_allclose(network.logits(h.reshape(24, 7)), expected, atol=1e-5)
    for found, array in zip(found_state, state, strict=True):
        np.testing.assert_allclose(found.data, array, atol=1e-5)
    with pytest.raises(ValueError, match=r"dense_kernel has shape \(5, 7\), expected \(7, 5\)"):
        TiedLSTM(run | {"dense_kernel": run["dense_kernel"].T})


def test_written_texts_follow_the_template_and_the_probabilities(small_run):
    made, run, _ = small_run
    network = TiedLSTM(run, "float64")
    template = [len(made.symbols) - 1, 3, -1, 4, -1]
    texts = network.write(template, 20_000, 1.0, np.random.default_rng(0))
    assert texts.shape == (20_000, 5)
    assert (texts[:, [0, 1, 3]] == np.array(template)[[0, 1, 3]]).all()
    for place in (2, 4):  # the second depends on what was drawn first: average over that
        targets = np.full((made.vocabulary, place), -1)
        targets[:, -1] = np.arange(made.vocabulary)
        p = 0
        for first in [0] if place == 2 else range(1, made.vocabulary):
            row = [template[0], 3, first, 4][:place]
            inputs = np.tile(row, (made.vocabulary, 1))
            q = np.exp(network.log_probabilities(inputs, targets))
            q[0] = 0
            share = 1 if place == 2 else (texts[:, 2] == first).mean()
            p = p + share * q / q.sum()
        shares = np.bincount(texts[:, place], minlength=made.vocabulary) / len(texts)
        np.testing.assert_allclose(shares, p, atol=4 * 0.5 / np.sqrt(20_000))
    again = network.write(template, 20_000, 1.0, np.random.default_rng(0))
    assert (again == texts).all()
    with pytest.raises(ValueError, match="must begin with a symbol that is given"):
        network.write([-1, 2], 1, 1.0, np.random.default_rng(0))


def test_streams_of_prose_go_on_where_the_last_batch_ended():
    made = language.moby_corpus()
    settings = train_text.COMMON | train_text.SETTINGS["moby"]
    batches = train_text.batches_of_prose(made, settings, np.random.default_rng(0))
    (first, goal, fresh), (second, _, still_fresh) = next(batches), next(batches)
    assert fresh and not still_fresh
    assert (first[:, 1:] == np.where(goal < 0, made.vocabulary, goal)[:, :-1]).all()
    assert (np.where(goal < 0, made.vocabulary, goal)[:, -1] == second[:, 0]).all()


def test_batches_of_poems_are_whole_poems():
    made = language.tang_corpus()
    settings = train_text.COMMON | train_text.SETTINGS["tang"]
    batches = train_text.batches_of_poems(made, settings, np.random.default_rng(0))
    poems = {bytes(poem) for poem in made.train}
    inputs, targets, fresh = next(batches)
    assert fresh and inputs.shape == targets.shape == (settings["batch"], 31)
    for row, goal in zip(inputs, targets):
        length = {5: 24, 7: 32}[int(made.symbols[row[0]].replace("⑤", "5").replace("⑦", "7"))]
        poem = np.append(row[: length - 1], goal[length - 2])
        assert bytes(poem.astype(np.int64)) in poems
        assert (goal >= 0).sum() == length - 4
