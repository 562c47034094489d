"""Metrics of a report, where they go, and the dashboard that shows them."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import socket
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from swiftimgfs import errors
from swiftimgfs.control import exporter
from swiftimgfs.control.exporter import metrics_at
from swiftimgfs.control.metrics import Measured, ReportCollector
from tests.support.control import in_thread
from tests.support.reports import REPORT

if TYPE_CHECKING:
    from swiftimgfs.control.report import Report

DASHBOARD = Path(__file__).parents[2] / "contrib" / "grafana" / "swiftimgfs.json"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples_of(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def exposed(measured: Measured) -> str:
    registry = CollectorRegistry()
    ProcessCollector(namespace="swiftimgfs", registry=registry)
    registry.register(ReportCollector(lambda: measured))
    return generate_latest(registry).decode()


def test_what_a_report_says() -> None:
    samples = samples_of(exposed(Measured(REPORT, failed_uploads=3)))

    def value(name: str, **labels: str) -> float:
        return samples[name, frozenset({"mountpoint": "/mnt/images", **labels}.items())]

    assert value("swiftimgfs_requests_total", method="GET", status="206") == 5
    assert value("swiftimgfs_requests_total", method="GET", status="none") == 1
    assert value("swiftimgfs_request_seconds_bucket", method="GET", le="0.01") == 2
    assert value("swiftimgfs_request_seconds_bucket", method="GET", le="+Inf") == 15
    assert value("swiftimgfs_request_seconds_sum", method="GET") == 3.5
    assert value("swiftimgfs_received_bytes_total") == 1000
    assert value("swiftimgfs_sent_bytes_total") == 2000
    assert value("swiftimgfs_retries_total") == 2
    assert value("swiftimgfs_memory_cache_hits_total") == 3
    assert value("swiftimgfs_disk_cache_damaged_total") == 2
    assert value("swiftimgfs_refusals_total", operation="read", errno="EIO") == 4
    assert value("swiftimgfs_waiting_bytes", where="disk") == 20
    assert value("swiftimgfs_uploads", state="pending") == 1
    assert value("swiftimgfs_uploads", state="failed") == 3


def test_names_of_mounts_that_would_break_the_format_do_not() -> None:
    mount = dataclasses.replace(REPORT.mount, source='a"}\n# HELP x\nevil 1', mountpoint="/\\")
    report = dataclasses.replace(REPORT, mount=mount)

    samples = samples_of(exposed(Measured(report, 0)))

    assert "evil" not in {name for name, _ in samples}
    assert any(("source", 'a"}\n# HELP x\nevil 1') in labels for _, labels in samples)


def test_the_dashboard_asks_for_metrics_and_labels_that_there_are() -> None:
    labels_of: dict[str, set[str]] = {}
    for name, labels in samples_of(exposed(Measured(REPORT, 1))):
        labels_of.setdefault(name, {"instance"}).update(key for key, _ in labels)
    dashboard = json.loads(DASHBOARD.read_text())
    queries = [t["expr"] for panel in dashboard["panels"] for t in panel["targets"]]
    queries += [v["query"] for v in dashboard["templating"]["list"] if v["type"] == "query"]
    asked: set[str] = set()

    for query in queries:
        for name, selected in re.findall(r"(swiftimgfs_\w+)(?:\{([^}]*)\})?", query):
            asked.add(name)
            assert name in labels_of, query
            assert set(re.findall(r"(\w+)=~?", selected)) <= labels_of[name], query
        used = {name for name in asked if name in query}
        for grouped in re.findall(r"by \(([^)]*)\)", query):
            for label in grouped.split(", "):
                assert any(label in labels_of[name] for name in used), query
    assert len(asked) > 15


async def test_over_http(nursery) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    target = "127.0.0.1", port

    def fetched() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text: str = answer.read().decode()
        return text

    async with metrics_at(target, lambda: REPORT, lambda: 3, in_thread):
        # Somebody who connects and says nothing keeps nobody waiting.
        with socket.create_connection(target):
            text = await in_thread(fetched)
        with pytest.raises(errors.MountError, match=r"metrics=127.0.0.1:.*in use"):
            async with metrics_at(target, lambda: REPORT, lambda: 3, in_thread):
                pass

    assert "swiftimgfs_uploads" in text
    assert "swiftimgfs_process_resident_memory_bytes" in text
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(target)


async def test_in_a_file(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(exporter, "FILE_SECONDS", 0.02)
    path = tmp_path / "swiftimgfs.prom"
    numbers = itertools.count()

    def bytes_read() -> float:
        name = "swiftimgfs_read_bytes_total", frozenset({("mountpoint", "/mnt/images")})
        return samples_of(path.read_text())[name]  # all of it is there, whenever one looks

    def report() -> Report:
        return dataclasses.replace(REPORT, bytes_read=next(numbers))

    async with metrics_at(path, report, lambda: 3, in_thread):
        first = bytes_read()  # as soon as the mount is there
        with trio.fail_after(20):
            while bytes_read() < first + 3:  # noqa: ASYNC110  # a file has no event
                await trio.sleep(0.01)

    assert list(tmp_path.iterdir()) == []
    with pytest.raises(errors.MountError, match="No such file"):
        async with metrics_at(tmp_path / "no" / "x", lambda: REPORT, lambda: 0, in_thread):
            pass
