#!/bin/sh
# Create .venv, or bring it up to date, and install what requirements.txt locks and the package itself.
# Called by make, through the stamp .venv/installed: while the stamp is younger than the lock nothing happens.
set -eu
cd "$(dirname "$0")/.."

stop() {
    echo "tools/environment.sh: $*" >&2
    exit 1
}

# A user's settings that would lead pip to install elsewhere.
unset PYTHONHOME PYTHONPATH PIP_TARGET PIP_PREFIX PIP_ROOT
export PIP_USER=no PIP_REQUIRE_VIRTUALENV=no PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

# TensorFlow has no build for other versions of Python.
find_python() {
    for candidate in python3.13 python3.12 python3.11 python3; do
        if "$candidate" -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    stop "found no Python 3.11, 3.12 or 3.13; install one of them (Debian, Ubuntu: apt-get install python3-venv) and run make again."
}

# Debian and Ubuntu ship Python without pip. Its wheel is in a package of theirs, which can be unpacked without being installed.
find_pip_wheel() {
    set -- /usr/share/python-wheels/pip-*.whl
    if [ ! -f "$1" ] && command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null; then
        mkdir -p "$scratch/lists/partial"
        lists="-o Dir::State::lists=$scratch/lists -o Dir::Cache=$scratch -o APT::Sandbox::User="
        (
            cd "$scratch"
            # First from what the system knows of packages; where it knows of none, look into its sources from here.
            apt-get download python3-pip-whl || { apt-get $lists update && apt-get $lists download python3-pip-whl; }
            dpkg-deb -x python3-pip-whl*.deb .
        ) >"$scratch/log" 2>&1 || true
        set -- "$scratch"/usr/share/python-wheels/pip-*.whl
    fi
    if [ -f "$1" ]; then echo "$1"; fi
}

make_venv() {
    python=$(find_python)
    echo "Creating .venv with $("$python" --version)"
    rm -rf .venv
    if "$python" -c 'import ensurepip' 2>/dev/null; then
        "$python" -m venv .venv
    else
        scratch=$(mktemp -d)
        trap 'rm -rf "$scratch"' EXIT
        wheel=$(find_pip_wheel)
        [ -n "$wheel" ] || stop "this Python has no pip and none could be fetched; install it (Debian, Ubuntu: apt-get install python3-venv) and run make again."
        "$python" -m venv --without-pip .venv
        .venv/bin/python "$wheel/pip" install --quiet --no-index "$wheel"
    fi
}

rm -f .venv/installed
.venv/bin/python -m pip --version >/dev/null 2>&1 || make_venv
echo "Installing requirements.txt into .venv: once, about 2 GB on the disk"
.venv/bin/python -m pip install --no-input --require-hashes -r requirements.txt
.venv/bin/python -m pip install --no-input --no-deps --no-build-isolation --quiet -e .
touch .venv/installed
