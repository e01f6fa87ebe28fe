"""The Chinese font: whether it has what the book and the poems need, and whether figures and pages get it."""

import re
import time
import unicodedata
import warnings
from pathlib import Path
from types import SimpleNamespace

import book_extension
import bundle_data
import matplotlib
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from dlbook import data, plot
from fontTools.ttLib import TTFont

ROOT = Path(__file__).resolve().parents[1]
# Characters of the quatrains that Noto Serif CJK has not. All are rare ones outside Unicode's Basic Multilingual Plane,
# of which the font covers a part only. They may not be shown in a figure or a page.
NOT_IN_THE_FONT = set(
    map(
        chr,
        [
            0x20734,
            0x20EF3,
            0x21C48,
            0x21D7B,
            0x2263D,
            0x22B35,
            0x22F2E,
            0x23BF6,
            0x23C26,
            0x24787,
            0x24B0A,
            0x24EA9,
            0x255E4,
            0x25C2D,
            0x25C67,
            0x25DE8,
            0x26012,
            0x262FA,
            0x26369,
            0x26770,
            0x26AAA,
            0x26D9C,
            0x27CFD,
            0x29259,
            0x29636,
            0x29A49,
            0x29B80,
            0x2A19F,
            0x2EA83,
        ],
    )
)


def is_wide(character):
    """Whether a character is as wide as a Chinese one (Unicode's East Asian Width), and no pictogram."""
    return (
        unicodedata.east_asian_width(character) in "WF" and unicodedata.category(character) != "So"
    )


def texts():
    """Yield ``(where, text)`` of each page and of each cell and output of the notebooks and exercises."""
    for path in [*ROOT.glob("book/**/*"), *ROOT.glob("src/dlbook/*.py")]:
        if path.suffix in {".md", ".json", ".bib", ".py"}:
            yield path.name, path.read_text(encoding="utf-8")
    for path in ROOT.glob("notebooks/**/*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            yield path.name, cell.source
            for output in cell.get("outputs", []):
                yield path.name, output.get("text", "")
                for content in output.get("data", {}).values():
                    yield path.name, str(content)
                yield path.name, str(output.get("metadata", {}).get("alt", ""))


@pytest.fixture(scope="module")
def characters():
    """Those of the bundled font."""
    with TTFont(plot.HAN_FONT) as font:
        return set(map(chr, font.getBestCmap()))


def test_font_has_every_character_of_the_book(characters):
    lacking = {
        (where, character)
        for where, text in texts()
        for character in filter(is_wide, text)
        if character not in characters
    }
    assert lacking == set(), "see “To write Chinese” in CONTRIBUTING.md"


def test_font_has_every_character_of_the_poems(characters):
    poems = data.load("tang-quatrains")
    words = [(poem.author, poem.title, *poem.lines) for poem in poems.five + poems.seven]
    used = set("".join("".join(parts) for parts in words))
    lacking = set(filter(is_wide, used)) - characters
    assert lacking == NOT_IN_THE_FONT
    assert min(map(ord, lacking)) > 0xFFFF
    assert set("，。？！；：、（）《》") <= characters


def test_font_has_a_name_of_its_own_and_its_licence():
    with TTFont(plot.HAN_FONT) as font:
        names = {name.nameID: str(name) for name in font["name"].names}
        outlines = font["CFF "].cff
        own = [names[1], names[4], names[6], *outlines.fontNames, outlines[0].FamilyName]
    assert names[1] == plot.HAN_FAMILY == bundle_data.FONT_FAMILY
    # "Noto" is a trademark; "Source" is reserved in the fonts of the same outlines.
    assert not re.search("noto|source", " ".join(own), flags=re.IGNORECASE)
    assert "Adobe" in names[0] and "SIL Open Font License" in names[13]
    licence = (plot.HAN_FONT.parent / "OFL.txt").read_text(encoding="utf-8")
    assert names[0].lstrip("© ") in licence and "PERMISSION & CONDITIONS" in licence


# Figures


@pytest.fixture
def fresh_style(monkeypatch):
    """Matplotlib as it is before any `use_style`."""
    fonts = matplotlib.font_manager.fontManager.ttflist
    monkeypatch.setattr(
        matplotlib.font_manager.fontManager,
        "ttflist",
        [font for font in fonts if font.name != plot.HAN_FAMILY],
    )
    with plt.rc_context(matplotlib.rcParamsDefault):
        yield
    plt.close("all")


def draw(text, **how):
    """The pixels of a text, and what Matplotlib said while drawing it."""
    fig = plt.figure(figsize=(4, 0.6))
    fig.text(0.02, 0.3, text, fontsize=14, **how)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        fig.canvas.draw()
    return np.asarray(fig.canvas.buffer_rgba()).copy(), [str(warning.message) for warning in said]


@pytest.mark.parametrize("weight", ["normal", "bold"])
def test_figures_show_chinese_characters(fresh_style, caplog, weight):
    boxes, said = draw("春眠", weight=weight)
    assert len(said) == 2 and "missing" in said[0]  # so that the rest of this test can fail
    plot.use_style()
    spring, said = draw("春眠", weight=weight)
    assert said == [] and caplog.messages == []
    dawn, _ = draw("曉眠", weight=weight)
    assert (spring != boxes).any() and (spring != dawn).any()


def test_latin_text_of_figures_stays_as_it_is(fresh_style):
    def pixels():
        fig, ax = plt.subplots()
        ax.plot([0, 1], [1, -2], label="AVAT fi gy")
        ax.set(title="“Loss” − $x_i^2$\nof 2 lines", xlabel="days (°F)", ylabel="Übung")
        ax.legend()
        fig.canvas.draw()
        return np.asarray(fig.canvas.buffer_rgba()).copy()

    plot.use_style()
    with_chinese = pixels()
    with plt.rc_context({"font.family": ["sans-serif"]}):
        np.testing.assert_array_equal(pixels(), with_chinese)


def test_style_may_be_set_again(fresh_style):
    plt.rcParams["font.family"] = ["serif"]
    plot.use_style()
    plot.use_style()
    assert plt.rcParams["font.family"] == ["serif", plot.HAN_FAMILY]
    fonts = matplotlib.font_manager.fontManager.ttflist
    assert sorted(font.weight for font in fonts if font.name == plot.HAN_FAMILY) == [400, 700]


def test_style_costs_little(fresh_style):
    times = []
    for _ in range(5):
        start = time.perf_counter()
        plot.register_han_font()
        times.append(time.perf_counter() - start)
    assert min(times) < 0.05  # about 0.01 on an idle machine


def test_missing_and_damaged_font(fresh_style, tmp_path):
    path = tmp_path / "font.otf"
    with pytest.raises(FileNotFoundError, match="install dlbook again"):
        plot.register_han_font(path)
    path.write_bytes(plot.HAN_FONT.read_bytes()[:-1])
    with pytest.raises(ValueError, match=f"expected {plot.HAN_SHA256}"):
        plot.register_han_font(path)


# Pages


def write_page_font(folder, builder="html"):
    app = SimpleNamespace(outdir=folder, builder=SimpleNamespace(format=builder))
    book_extension.write_page_font(app, None)
    return folder / "_static/dlbook-han.woff"


def test_font_of_the_pages_has_their_characters_and_no_others(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "index.html").write_text("<p>no Chinese</p>")
    assert not write_page_font(tmp_path).exists()
    (tmp_path / "book/one.html").write_text("<p>Adam（春）</p>", encoding="utf-8")
    (tmp_path / "two.html").write_text("<pre>曉，</pre>", encoding="utf-8")
    path = write_page_font(tmp_path)
    with TTFont(path) as font:
        assert font.flavor == "woff"
        assert set(map(chr, font.getBestCmap())) == set("（春）曉，")
        assert "SIL Open Font License" in font["name"].getDebugName(13)
    assert path.stat().st_size < 20_000
    content = path.read_bytes()
    assert write_page_font(tmp_path).read_bytes() == content
    assert not write_page_font(tmp_path / "book", builder="latex").exists()


def test_style_sheet_and_tools_mean_the_same_characters():
    css = (ROOT / "book/_static/dlbook.css").read_text(encoding="utf-8")
    ranges = re.findall(r"U\+(\w+)-(\w+)", re.search("unicode-range:(.*?);", css)[1])
    served = {i for start, end in ranges for i in range(int(start, 16), int(end, 16) + 1)}
    served -= set(range(0xD800, 0xE000))
    assert set(map(ord, bundle_data.wide_characters("".join(map(chr, range(0x110000)))))) == served


@pytest.mark.parametrize(
    ("body", "marked"),
    [
        (
            "<pre>春 <b>曉</b></pre>",
            '<pre><span lang="zh">春</span> <b><span lang="zh">曉</span></b></pre>',
        ),
        (
            '<span lang="zh-Hant">春</span><pre>a</pre>',
            '<span lang="zh-Hant">春</span><pre>a</pre>',
        ),
        (
            '<table border="1"><td>春曉</td></table>',
            '<table border="1"><td><span lang="zh">春曉</span></td></table>',
        ),
    ],
)
def test_chinese_in_code_and_output_is_marked(body, marked):
    context = {"body": body}
    book_extension.mark_chinese(None, "page", "page.html", context, None)
    assert context["body"] == marked


def test_character_that_the_font_lacks_is_a_warning(monkeypatch):
    said = []
    monkeypatch.setattr(
        book_extension.logger, "warning", lambda text, *values, **_: said.append(text % values)
    )
    for character in ("春", "\N{CJK UNIFIED IDEOGRAPH-20734}"):
        book_extension.mark_chinese(None, "book/page", "page.html", {"body": character}, None)
    assert len(said) == 1 and "book/page" in said[0] and "U+20734" in said[0]
    book_extension.mark_chinese(None, "search", "search.html", {}, None)  # a page without body
