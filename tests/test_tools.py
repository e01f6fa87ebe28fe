"""Tests of the build scripts in tools/."""

import hashlib
import io
import json
import subprocess
import zipfile
from types import SimpleNamespace

import book_extension
import chromium
import colab
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import notebooks

# Colab copies


@pytest.fixture(autouse=True)
def no_repository_from_outside(monkeypatch):
    for name in ("BOOK_REPOSITORY", "BOOK_SITE", "CHROMIUM"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("remote", "repository"),
    [
        ("https://github.com/owner/some.book.git", "owner/some.book"),
        ("https://github.com/owner/book", "owner/book"),
        ("git@github.com:owner/book.git", "owner/book"),
        ("ssh://git@github.com/owner/book.git", "owner/book"),
        ("https://git.example.org/owner/book.git", None),
        ("/srv/git/book.git", None),
        (None, None),
    ],
)
def test_repository_from_the_git_remote(tmp_path, remote, repository):
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    if remote:
        subprocess.run(["git", "-C", tmp_path, "remote", "add", "origin", remote], check=True)
    assert colab.find_repository(tmp_path) == repository


def test_repository_from_the_environment(monkeypatch):
    monkeypatch.setenv("BOOK_REPOSITORY", "owner/book")
    assert colab.find_repository() == "owner/book"
    assert colab.site_address() == "https://raw.githubusercontent.com/owner/book/gh-pages"
    monkeypatch.setenv("BOOK_SITE", "http://localhost:8000/")
    assert colab.site_address() == "http://localhost:8000"
    monkeypatch.delenv("BOOK_SITE")
    monkeypatch.setenv("BOOK_REPOSITORY", "")
    assert colab.site_address() is None


@pytest.fixture
def small_book(tmp_path, monkeypatch):
    """A copy of the repository's layout with a small package, two notebooks and an assignment."""
    monkeypatch.setattr(colab, "ROOT", tmp_path)
    (tmp_path / "src/dlbook").mkdir(parents=True)
    (tmp_path / "src/dlbook/__init__.py").write_text("")
    (tmp_path / "README.md").write_text("")
    (tmp_path / "LICENSE").write_text("")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "dlbook"\nversion = "1.2"\n')
    notebook = new_notebook(cells=[new_markdown_cell("# Title"), new_code_cell("import dlbook")])
    for path in (
        "notebooks/03-slug.ipynb",
        "notebooks/08-slug.ipynb",
        "_build/assignments/03-slug/03-slug.ipynb",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, tmp_path / path)
    return tmp_path


@pytest.mark.parametrize(
    "name", ["book", "https://github.com/owner/book", "owner/book/more", "own er/book", "/book"]
)
def test_bad_repository_is_refused(small_book, monkeypatch, name):
    monkeypatch.setenv("BOOK_REPOSITORY", name)
    with pytest.raises(ValueError, match="owner/name"):
        colab.find_repository()
    with pytest.raises(SystemExit, match="owner/name"):
        colab.main()


def test_copies_install_the_wheel_beside_them(small_book, monkeypatch, capsys):
    monkeypatch.setenv("BOOK_REPOSITORY", "owner/book")
    colab.main()
    site = small_book / "_build/html/colab"
    assert "3 notebooks" in capsys.readouterr().out
    with zipfile.ZipFile(site / "dlbook-1.2-py3-none-any.whl") as wheel:
        assert "dlbook/__init__.py" in wheel.namelist()
    wheel = (
        "https://raw.githubusercontent.com/owner/book/gh-pages/colab/dlbook-1.2-py3-none-any.whl"
    )
    for copy, installed in {
        "notebooks/03-slug.ipynb": wheel,
        "notebooks/08-slug.ipynb": f'"dlbook[chapter8] @ {wheel}"',
        "exercises/03-slug.ipynb": wheel,
    }.items():
        copy = nbformat.read(site / copy, as_version=4)
        nbformat.validate(copy)
        assert [cell.cell_type for cell in copy.cells] == ["markdown", "code", "code"]
        assert copy.cells[1].source.endswith(f"%pip install --quiet {installed}")


def test_no_repository_means_no_copies(small_book, monkeypatch, capsys):
    monkeypatch.setenv("BOOK_REPOSITORY", "")
    (small_book / "_build/html/colab").mkdir(parents=True)  # left by an earlier build
    colab.main()
    assert capsys.readouterr().out.startswith("No Colab copies")
    assert not (small_book / "_build/html/colab").exists()


def test_install_cell_does_nothing_outside_colab():
    from IPython.core.inputtransformer2 import TransformerManager

    code = TransformerManager().transform_cell(
        colab.INSTALL_CELL.format(wheel="http://localhost/no.whl")
    )
    # Outside of IPython the magic would fail: get_ipython does not exist here.
    exec(compile(code, "install cell", "exec"), {})


# Chromium


def test_chromium_named_by_the_environment(monkeypatch, tmp_path):
    program = tmp_path / "browser"
    program.touch(mode=0o755)
    monkeypatch.setenv("CHROMIUM", str(program))
    assert chromium.find_chromium() == str(program)
    monkeypatch.setenv("CHROMIUM", str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match="CHROMIUM is"):
        chromium.find_chromium()


def test_missing_chromium_says_how_to_get_one(monkeypatch):
    tried = []
    monkeypatch.setattr(
        chromium.shutil, "which", lambda name: "/usr/bin/apt-get" if name == "apt-get" else None
    )
    monkeypatch.setattr(chromium, "playwright_chromium", lambda: None)
    monkeypatch.setattr(chromium.os, "geteuid", lambda: 0)
    monkeypatch.setattr(
        chromium.subprocess,
        "run",
        lambda command, **options: tried.append(command) or subprocess.CompletedProcess(command, 1),
    )
    with pytest.raises(FileNotFoundError, match="playwright install --with-deps chromium"):
        chromium.find_chromium()
    assert [command[-1] for command in tried] == ["chromium", "update", "chromium"]


# The Sphinx extension


def graded_cell(points):
    return new_code_cell(metadata={"nbgrader": {"grade": True, "points": points}})


def test_exercises_sum_their_points(tmp_path):
    cells = [
        new_markdown_cell("# Exercises"),
        new_markdown_cell("Text.\n\n## Exercise 1: first\n\nMore."),
        graded_cell(1),
        graded_cell(2),
        new_markdown_cell("## Exercise 2: second"),
        new_code_cell(metadata={"nbgrader": {"grade": False, "solution": True}}),
        graded_cell(0.5),
    ]
    path = tmp_path / "exercises.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    assert book_extension.read_exercises(path) == [["first", 3], ["second", 0.5]]
    nbformat.write(new_notebook(cells=cells[2:]), path)
    with pytest.raises(ValueError, match="before the first"):
        book_extension.read_exercises(path)


def test_results_table_shows_spread_and_baseline():
    numbers = {
        "mlp": {"values": [0.8, 0.9], "show": ".1%", "about": "MLP", "baseline": "linear"},
        "linear": {"values": [0.5, 0.7], "show": ".1%", "about": "a|b", "baseline": None},
        "lag": {"values": [10, 15], "show": ",d", "about": "Lag"},
        "hidden": {"values": [1, 2], "show": ".1f", "baseline": None},
    }
    result = {"seeds": [0, 1], "seconds": [40.2, 44.9], "numbers": numbers}
    stored = {"mlp": 0.85, "linear": 0.6, "lag": 10}
    table = book_extension.results_table("03-slug", result, stored)
    table = table.replace("\N{NO-BREAK SPACE}", " ")
    assert "2 seeds, 40–45 s" in table
    assert "| MLP | 85.0% | 85.0% ± 7.1% | 80.0% – 90.0% | 60.0% (a\\|b) |" in table
    assert "| Lag | 10 | 12.5 ± 3.5 | 10 – 15 | – |" in table
    assert "hidden" not in table
    with pytest.raises(ValueError, match="make reseed"):
        book_extension.results_table("03-slug", result, {"mlp": 0.85})


CONF = """
extensions = ["book_extension"]
nb_execution_mode = "off"
numfig = True
html_theme = "sphinx_book_theme"
"""
PAGE = """
# Chapter

{numref}`figure-name`

```{glue:figure} ../notebooks/03-slug.ipynb::curve
:name: figure-name

The *caption*.
```

```{toctree}
:numbered:

../notebooks/03-slug
```
"""


def build_site(folder, alt):
    """Build a site of a page and a notebook with one image; return its folder and the warnings."""
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace

    pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
    metadata = {"scrapbook": {"name": "curve", "mime_prefix": ""}} | ({"alt": alt} if alt else {})
    output = new_output("display_data", data={"image/png": pixel}, metadata=metadata)
    cells = [new_markdown_cell("# Notebook"), new_code_cell("draw()", outputs=[output])]
    kernel = {
        "kernelspec": {"name": "python3", "display_name": "Python"},
        "language_info": {"name": "python"},
    }
    for path, text in {
        "conf.py": CONF,
        "index.md": "# Front\n\n```{toctree}\n:numbered:\n\nbook/03-slug\n```\n",
        "book/03-slug.md": PAGE.replace(":numbered:\n", ""),
        "notebooks/03-slug.ipynb": json.dumps(new_notebook(cells=cells, metadata=kernel)),
    }.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text)
    html = folder / "_build/html"
    warnings = io.StringIO()
    doctrees = folder / "_build/doctrees"
    with docutils_namespace():  # what the build registers is forgotten after it
        Sphinx(folder, folder, html, doctrees, "html", status=None, warning=warnings).build()
    return html, warnings.getvalue()


def test_figures_of_notebooks_carry_number_caption_and_text(tmp_path):
    html, warnings = build_site(tmp_path, alt="A falling curve")
    assert warnings == ""
    assert 'alt="A falling curve"' in (html / "notebooks/03-slug.html").read_text()
    page = (html / "book/03-slug.html").read_text()
    assert 'alt="A falling curve"' in page
    assert '<span class="std std-numref">Fig. 3.1</span>' in page
    assert '<span class="caption-number">Fig. 3.1 </span>' in page
    assert "The <em>caption</em>." in page


def test_drawings_are_told_from_pictures():
    fig, ax = plt.subplots()
    ax.plot(range(9), "k", linewidth=3)
    assert book_extension.is_drawing(png(fig))
    fig, ax = plt.subplots()
    ax.imshow(np.linspace(0, 1, 64).reshape(8, 8), cmap="gray")
    assert not book_extension.is_drawing(png(fig))


def png(fig):
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png")
    plt.close(fig)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("repository", "address"), [("Owner/book", "https://owner.github.io/book/"), (None, None)]
)
def test_cards_of_shared_links_have_whole_addresses(repository, address):
    app = SimpleNamespace(config=SimpleNamespace(book_repository=repository))
    context = {}
    book_extension.name_site(app, "book/01-history", "page.html", context, None)
    assert context.get("site_address") == address


def test_figure_without_text_is_a_warning(tmp_path):
    _, warnings = build_site(tmp_path, alt="")
    assert "figure 'curve' in cell 2 has no alt text" in warnings


def test_a_run_saved_by_a_notebook_moves_into_the_package(tmp_path, monkeypatch, capsys):
    (tmp_path / "runs").mkdir()
    monkeypatch.setattr(notebooks, "RUNS", tmp_path / "runs")
    (tmp_path / "notes.txt").write_text("stays")
    np.savez(tmp_path / "network.npz", kernel=np.arange(3))
    digest = hashlib.sha256((tmp_path / "network.npz").read_bytes()).hexdigest()
    notebooks.keep_run(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "runs"]
    with np.load(tmp_path / "runs" / "network.npz") as arrays:
        assert arrays["kernel"].tolist() == [0, 1, 2]
    assert digest in capsys.readouterr().out
