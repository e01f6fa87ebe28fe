"""The stored outputs of the notebooks: whether a run stored them, and whether the tests would see a change."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import notebooks

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = sorted(ROOT.glob("notebooks/*.ipynb"))
ALL = CHAPTERS + sorted(ROOT.glob("notebooks/exercises/*/*.ipynb"))
RESULTS = (
    json.loads((ROOT / "book/results.json").read_text(encoding="utf-8"))["notebooks"]
    if (ROOT / "book/results.json").exists()
    else {}
)
# A path from the root of a file system (as opposed to one behind a host's name), or what else differs between machines.
MACHINE = re.compile(r"(?<![\w.:/~<)])/\w+/\w|[A-Z]:\\\\|site-packages|ipykernel_\d")


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def ignored(cell):
    return "nbval-ignore-output" in cell.metadata.get("tags", [])


@pytest.fixture(params=ALL, ids=lambda path: path.relative_to(ROOT / "notebooks").as_posix())
def notebook(request):
    return nbformat.read(request.param, as_version=4)


@pytest.fixture(params=CHAPTERS, ids=lambda path: path.stem)
def chapter(request):
    return request.param


def test_there_are_notebooks():
    assert CHAPTERS
    assert {path.stem for path in CHAPTERS} == set(RESULTS), "run `make reseed` for a new notebook"


def test_outputs_are_those_that_a_run_stored(notebook):
    nbformat.validate(notebook)
    assert notebook.metadata.get("dlbook", {}).get("seal") == notebooks.seal(notebook), (
        "run `make notebooks`"
    )


def test_nothing_of_the_machine_is_stored(notebook):
    stripped = nbformat.from_dict(notebook)
    notebooks.strip(stripped)
    assert {**notebook.metadata, "dlbook": None} == {**stripped.metadata, "dlbook": None}
    assert [cell.metadata for cell in notebook.cells] == [cell.metadata for cell in stripped.cells]
    for cell in code_cells(notebook):
        for output in cell.outputs:
            text = json.dumps(
                {
                    key: value
                    for key, value in output.get("data", output).items()
                    if key != "image/png"
                },
                ensure_ascii=False,
            )
            assert not MACHINE.search(text), text


def test_every_cell_ran_once_in_order_without_complaint(notebook):
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    for cell in code_cells(notebook):
        for output in cell.outputs:
            assert output.output_type != "error" and output.get("name") != "stderr", cell.source


def test_claims_and_exact_numbers_are_compared_strictly(notebook):
    for cell in code_cells(notebook):
        tags = set(cell.metadata.get("tags", []))
        assert {tag for tag in tags if tag.startswith("nbval")} <= {"nbval-ignore-output"}, (
            f"nbval would not run or not compare:\n{cell.source}"
        )
        if ignored(cell):
            assert not re.search(r"\bclaim\(", cell.source), (
                f"a claim in a cell whose output is not compared:\n{cell.source}"
            )
        for name, (value, facts) in notebooks.recorded([cell]).items():
            if value is None:
                continue
            assert not (ignored(cell) and facts["tolerance"] == 0), (
                f"{name} is exact, but in a cell whose output is not compared"
            )
            # nbval compares the outputs of a strict cell as text, whatever the tolerance.
            assert ignored(cell) or facts["tolerance"] == 0, (
                f"{name} has a tolerance, but stands in a cell that nbval compares strictly"
            )


def test_names_of_records_are_unique(notebook):
    notebooks.recorded(notebook.cells)


def test_numbers_were_spread_with_this_code(chapter):
    assert RESULTS[chapter.stem]["code_sha256"] == notebooks.code_hash(
        nbformat.read(chapter, as_version=4)
    ), "run `make reseed`"


def test_stored_numbers_lie_within_their_spread(chapter):
    stored = {
        name: (value, facts)
        for name, (value, facts) in notebooks.recorded(
            nbformat.read(chapter, as_version=4).cells
        ).items()
        if value is not None
    }
    result = RESULTS[chapter.stem]
    assert set(stored) == set(result["numbers"])
    assert len(result["seeds"]) == len(set(result["seeds"])) == len(result["seconds"]) > 1
    for name, (value, facts) in stored.items():
        spread = result["numbers"][name]
        assert facts == {key: fact for key, fact in spread.items() if key != "values"}
        assert len(spread["values"]) == len(result["seeds"])
        assert (
            min(spread["values"]) - facts["tolerance"]
            <= value
            <= max(spread["values"]) + facts["tolerance"]
        ), name


# The tools themselves, on a small notebook that needs no TensorFlow. The second cell is one whose numbers vary.

CELLS = [
    new_markdown_cell("# Small", id="title"),
    new_code_cell("import dlbook\nprint('two')", id="strict"),
    new_code_cell(
        "dlbook.record('number', 0.5, tolerance=0.01)",
        id="number",
        metadata={"tags": ["nbval-ignore-output"], "scrolled": True},
    ),
    new_code_cell("dlbook.claim('one is one', 1 == 1)", id="claim"),
]


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A repository with one notebook, and the tools working on it."""
    monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    monkeypatch.setattr(notebooks, "RESULTS", tmp_path / "book/results.json")
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "book").mkdir()
    path = tmp_path / "notebooks/01-small.ipynb"
    nbformat.write(new_notebook(cells=CELLS, metadata={"signature": "some machine"}), path)
    return path


def change_strict_output(notebook):
    notebook.cells[1].outputs[0].text = "three\n"


def change_recorded_number(notebook):
    notebook.cells[2].outputs[0].data["application/papermill.record/text/plain"] = "0.52"


def change_tolerance(notebook):
    notebook.cells[2].outputs[0].metadata["dlbook"]["tolerance"] = 0.1


def remove_recorded_number(notebook):
    notebook.cells[2].outputs = []


def change_stored_claim(notebook):
    notebook.cells[3].outputs[0].text = "✓ one is two\n"


def change_text_of_claim(notebook):
    notebook.cells[3].source = notebook.cells[3].source.replace("one is one", "one is two")


CHANGES = [
    change_strict_output,
    change_recorded_number,
    change_tolerance,
    remove_recorded_number,
    change_stored_claim,
    change_text_of_claim,
]


def run_nbval(folder):
    """Run nbval on the notebooks of the folder with the book's own conftest.py; return its report."""
    (folder / "tools").mkdir()
    shutil.copy(ROOT / "tools/notebooks.py", folder / "tools")
    shutil.copy(ROOT / "notebooks/conftest.py", folder / "notebooks")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval",
        "--nbval-current-env",
        "-rA",
        "-c",
        "/dev/null",
        "-p",
        "no:cacheprovider",
        "notebooks",
    ]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder).stdout


def test_store_then_compare(small, capsys):
    """What is stored is sealed and passes; each change by hand breaks the seal, and nbval finds it too."""
    notebooks.main(["store", "01"])
    assert "notebooks/01-small.ipynb: executed in" in capsys.readouterr().out
    stored = nbformat.read(small, as_version=4)
    assert stored.cells[1].outputs[0].text == "two\n"
    assert stored.cells[3].outputs[0].text == "✓ one is one\n"
    assert notebooks.recorded(stored.cells) == {"number": (0.5, {"tolerance": 0.01})}
    assert stored.metadata.dlbook.seal == notebooks.seal(stored)
    assert "signature" not in stored.metadata and stored.cells[2].metadata == {
        "tags": ["nbval-ignore-output"]
    }
    assert [path.name for path in small.parent.iterdir()] == [small.name]

    first = small.read_bytes()
    notebooks.main(["store"])
    assert small.read_bytes() == first  # nothing in it varies

    for change in CHANGES:
        changed = nbformat.reads(first.decode(), as_version=4)
        change(changed)
        assert changed.metadata.dlbook.seal != notebooks.seal(changed), change.__name__
        nbformat.write(changed, small.with_stem(change.__name__))
    report = run_nbval(small.parents[1])
    failed = re.findall(r"^FAILED notebooks/(\w+)\.ipynb::", report, flags=re.MULTILINE)
    assert sorted(failed) == sorted(change.__name__ for change in CHANGES), report
    assert f"{len(CHANGES)} failed" in report, report


def test_store_leaves_the_notebook_alone_where_a_claim_fails(small):
    notebook = nbformat.read(small, as_version=4)
    notebook.cells[3].source = "dlbook.claim('one is two', 1 == 2)"
    nbformat.write(notebook, small)
    before = small.read_bytes()
    with pytest.raises(Exception, match="claim does not hold: one is two"):
        notebooks.main(["store"])
    assert small.read_bytes() == before


def test_reseed_spreads_the_numbers(small, capsys):
    notebook = nbformat.read(small, as_version=4)
    seeded = "import os\nnumber = int(os.environ['DLBOOK_SEED']) / 4\ndlbook.record('number', number, about='a number', show='.2f')"
    notebook.cells[2].source = seeded
    nbformat.write(notebook, small)
    before = small.read_bytes()
    notebooks.main(["reseed", "--seeds", "3"])
    assert capsys.readouterr().out.count("every claim holds") == 3
    assert small.read_bytes() == before
    result = json.loads(notebooks.RESULTS.read_text())["notebooks"]["01-small"]
    assert result["code_sha256"] == notebooks.code_hash(notebook)
    assert result["seeds"] == [0, 1, 2] and len(result["seconds"]) == 3
    assert result["numbers"] == {
        "number": {"values": [0.0, 0.25, 0.5], "tolerance": 0.0, "about": "a number", "show": ".2f"}
    }


def test_reseed_names_the_seed_whose_claim_fails(small, capsys):
    notebook = nbformat.read(small, as_version=4)
    notebook.cells[
        3
    ].source = "import os\ndlbook.claim('the seed is 0', os.environ['DLBOOK_SEED'] == '0')"
    nbformat.write(notebook, small)
    with pytest.raises(SystemExit, match="1 of the runs failed"):
        notebooks.main(["reseed", "--seeds", "2"])
    assert (
        "01-small, seed 1: AssertionError: claim does not hold: the seed is 0"
        in capsys.readouterr().out
    )
    assert not notebooks.RESULTS.exists()


def test_unknown_chapter(small):
    with pytest.raises(SystemExit, match="no notebook starts with 12; there are: 01-small"):
        notebooks.main(["store", "12"])
