"""Rotations against Pillow's, confident examples against a search by hand."""

import numpy as np
import pytest
from dlbook.selfsupervision import most_confident, rotation_task
from PIL import Image


def test_rotations_are_those_of_pillow_with_their_labels():
    images = np.random.default_rng(0).integers(0, 256, (3, 5, 5), dtype=np.uint8)
    turned, quarter_turns = rotation_task(images)
    assert (
        turned.shape == (12, 5, 5)
        and quarter_turns.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    )
    pillow = (None, Image.ROTATE_90, Image.ROTATE_180, Image.ROTATE_270)
    for row, (picture, turns) in enumerate(zip(turned, quarter_turns)):
        image = Image.fromarray(images[row % 3])
        expected = image if turns == 0 else image.transpose(pillow[turns])
        assert np.array_equal(picture, np.asarray(expected))


def test_channels_stay_last():
    images = np.arange(2 * 4 * 4 * 3).reshape(2, 4, 4, 3)
    turned, _ = rotation_task(images)
    assert turned.shape == (8, 4, 4, 3)
    assert np.array_equal(turned[2, :, :, 1], np.rot90(images[0, :, :, 1]))


@pytest.mark.parametrize("shape", [(28, 28), (2, 28, 20), (784,)])
def test_images_that_are_not_square_are_refused(shape):
    with pytest.raises(ValueError, match="crop or pad"):
        rotation_task(np.zeros(shape))


def test_the_most_confident_are_found_as_by_hand():
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(200, 4))
    rows, labels = most_confident(scores, 7)
    expected = []
    for label in range(4):
        margins = {
            row: s[label] - max(s[k] for k in range(4) if k != label)
            for row, s in enumerate(scores)
            if s[label] == max(s)
        }
        expected += [(row, label) for row in sorted(margins, key=margins.get, reverse=True)[:7]]
    assert list(zip(rows.tolist(), labels.tolist())) == expected


def test_a_rare_class_gives_what_it_has():
    scores = np.array([[3.0, 0], [2, 0], [0, 1], [5, 0]])
    rows, labels = most_confident(scores, 2)
    assert rows.tolist() == [3, 0, 2] and labels.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    "scores, number", [(np.zeros(5), 1), (np.zeros((5, 1)), 1), (np.zeros((5, 3)), 0)]
)
def test_scores_that_are_no_table_are_refused(scores, number):
    with pytest.raises(ValueError, match="most_confident"):
        most_confident(scores, number)
