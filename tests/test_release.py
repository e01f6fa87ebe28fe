"""The environment script, the Makefile and the bench: that they run, and how they fail."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import bench
import colab
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def project(tmp_path):
    """A project of nothing but the environment script and a requirement that cannot be had."""
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools/environment.sh", tmp_path / "tools")
    (tmp_path / "requirements.txt").write_text(f"no-such-package==1.0 --hash=sha256:{'0' * 64}\n")
    return tmp_path


def run_script(project, **environment):
    command = ["sh", project / "tools/environment.sh"]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}
    )


def test_without_a_fitting_python_the_script_says_what_to_install(project):
    programs = project / "bin"
    programs.mkdir()
    for name in ("sh", "dirname", "rm"):
        (programs / name).symlink_to(shutil.which(name))
    (programs / "python3").write_text(
        "#!/bin/sh\nexit 1\n"
    )  # answers like a Python that is too old
    (programs / "python3").chmod(0o755)
    result = run_script(project, PATH=str(programs))
    assert result.returncode == 1
    assert "found no Python 3.11, 3.12 or 3.13; install one" in result.stderr
    assert not (project / ".venv").exists()


def test_failed_install_leaves_no_stamp(project):
    """With a stamp from before, and the pip of the environment that runs this test in place of one made anew."""
    (project / ".venv/bin").mkdir(parents=True)
    (project / ".venv/bin/python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (project / ".venv/bin/python").chmod(0o755)
    (project / ".venv/installed").touch()
    result = run_script(project, PIP_NO_INDEX="1", PIP_FIND_LINKS="", PIP_USER="yes")
    assert result.returncode != 0 and "no-such-package" in result.stderr, result.stderr
    assert not (project / ".venv/installed").exists()


def test_wheel_has_the_data_and_the_font_with_their_licences(tmp_path):
    with zipfile.ZipFile(colab.build_wheel(tmp_path)) as wheel:
        names = wheel.namelist()
        font = ROOT / "src/dlbook/fonts/dlbook-han-serif.otf"
        assert wheel.read("dlbook/fonts/dlbook-han-serif.otf") == font.read_bytes()
        metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
        assert "OFL-1.1" in re.search("License-Expression: (.*)", wheel.read(metadata).decode())[1]
    for path in ROOT.glob("src/dlbook/datasets/*"):
        assert f"dlbook/datasets/{path.name}" in names
    licences = [name for name in names if ".dist-info/licenses/" in name]
    assert {Path(name).name for name in licences} == {"LICENSE", "LICENSES.md", "OFL.txt"}


def test_help_lists_every_target():
    makefile = (ROOT / "Makefile").read_text()
    result = subprocess.run(
        ["make", "--silent", "-C", ROOT, "help"], capture_output=True, text=True
    )
    listed = re.findall(r"^make (\w+)", result.stdout, flags=re.MULTILINE)
    assert sorted(listed) == sorted(
        re.search(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)[1].split()
    )
    for target in re.findall(
        r"`make (\w+)", (ROOT / "README.md").read_text() + (ROOT / "CONTRIBUTING.md").read_text()
    ):
        assert target in listed


def test_bench_trains_the_same_network_twice():
    images = np.random.default_rng(0).random((64, 784), dtype="float32")
    labels = np.arange(64) % 10
    for epoch in (bench.engine_epoch, bench.keras_epoch):
        for optimizer, _ in bench.CONFIGURATIONS[::2]:
            assert bench.seconds(epoch(images, labels, optimizer, 32)) > 0
    for train in bench.lstm_steps(images.reshape(64, 28, 28), labels, 4, 32):
        assert bench.seconds(train) > 0
    backward, forward = bench.backward_and_forward([4, 3, 2], 5)
    assert all(time > 0 for time in bench.in_turns(forward, backward, 3))
