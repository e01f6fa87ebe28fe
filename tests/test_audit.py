"""Tests of tools/audit.py, without Lighthouse, which `make test` runs after them."""

import gzip
import json
import re
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import audit
import pytest
from audit import Measure, misses, read_report, serve

ROOT = Path(__file__).resolve().parents[1]


def test_the_host_compresses_text_and_nothing_else(tmp_path):
    text = "<p>" + "word " * 1000
    (tmp_path / "a.html").write_text(text)
    (tmp_path / "b.woff2").write_bytes(bytes(range(256)))
    with serve(tmp_path) as address:
        assert address.startswith("http://127.0.0.1:")
        asked = Request(address + "a.html", headers={"Accept-Encoding": "gzip"})
        with urlopen(asked) as answer:
            content = answer.read()
            assert answer.headers["Content-Encoding"] == "gzip"
            assert int(answer.headers["Content-Length"]) == len(content) < 200
            assert gzip.decompress(content).decode() == text
        with urlopen(address + "b.woff2") as answer:
            assert answer.headers["Content-Encoding"] is None
            assert answer.read() == bytes(range(256))
        (tmp_path / "a.html").write_text("new")
        with urlopen(address + "a.html?v=1") as answer:
            assert gzip.decompress(answer.read()) == b"new"
        with pytest.raises(HTTPError, match="404"):
            urlopen(address + "absent.html")


def report(performance, shift, sizes):
    items = [{"resourceType": kind, "transferSize": size} for kind, size in sizes]
    scores = {name: {"score": 1} for name in audit.CATEGORIES} | {
        "performance": {"score": performance}
    }
    return {
        "categories": scores,
        "audits": {
            "network-requests": {"details": {"items": items}},
            "cumulative-layout-shift": {"numericValue": shift},
        },
    }


def test_what_counts_of_a_report():
    measure = read_report(report(0.9, 0.01, [("Document", 1024), ("Font", 2048), ("Image", 9999)]))
    assert measure == Measure(0.9, 1, 1, 1, 0.01, 3)
    assert misses(measure, Measure(0.9, 1, 1, 0.95, 0.02, 3)) == []
    found = misses(measure, Measure(0.95, 1, 1, 0.95, 0.005, 2.5))
    assert [re.match(r"[a-z ]+", sentence)[0].strip() for sentence in found] == [
        "performance is",
        "layout shift is",
        "weight without images",
    ]


def test_a_page_that_misses_is_measured_thrice(monkeypatch):
    scores = iter([0.5, 0.97, 0.96])
    monkeypatch.setattr(audit, "run_lighthouse", lambda *_: report(next(scores), 0, []))
    monkeypatch.setattr(audit, "limits", lambda _: Measure(0.95, 1, 1, 0.95, 0.02, 200))
    assert audit.audit_page("a.html", "", "").performance == 0.96
    scores = iter([0.97])
    assert audit.audit_page("a.html", "", "").performance == 0.97


def test_limits_depend_on_the_page(monkeypatch, tmp_path):
    for folder in ("book", "notebooks"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "03-a.html").write_text("<img>" * 5)
    (tmp_path / "notebooks/04-b.html").write_text("<img>" * 4)
    monkeypatch.setattr(audit, "HTML", tmp_path)
    assert audit.limits("book/03-a.html") == Measure(0.95, 1, 1, 0.95, 0.02, 200)
    assert audit.limits("notebooks/03-a.html").performance == 0.90
    assert audit.limits("notebooks/04-b.html").performance == 0.95


def test_lighthouse_is_locked_and_no_host_is_named():
    lock = (ROOT / "tools/audit/package-lock.json").read_text()
    wanted = json.loads((ROOT / "tools/audit/package.json").read_text())["dependencies"]
    packages = json.loads(lock)["packages"]
    assert packages[""]["dependencies"] == wanted
    assert packages["node_modules/lighthouse"]["version"] == wanted["lighthouse"]
    assert '"resolved"' not in lock
    assert all("integrity" in package for name, package in packages.items() if name)
