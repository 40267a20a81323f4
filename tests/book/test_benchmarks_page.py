"""The page of benchmarks shows the record of each, or how to create it."""

import re
from pathlib import Path

import pytest

from cdmllab import results
from cdmllab.book import benchmark_tables

PAGE = Path(__file__).parents[2] / "book/benchmarks.md"


def test_page_has_every_benchmark_once():
    named = re.findall(r"```\{cdml-benchmark\} (\w+)\n```", PAGE.read_text(encoding="utf-8"))
    assert sorted(named) == sorted(benchmark_tables.BENCHMARKS)


def test_directive_prints_the_tables_and_warns_about_unknown_names(build_miniature):
    folder, warnings = build_miniature(
        page="# A page\n\n```{cdml-benchmark} heads\n```\n\n```{cdml-benchmark} tails\n```\n"
    )
    text = (folder / "page.html").read_text(encoding="utf-8")
    result = [
        record
        for device in benchmark_tables.DEVICES
        if (record := results.benchmark("heads", device)) is not None
    ]
    assert result
    assert text.count("<table") == sum(len(record["shapes"]) for record in result)
    for record in result:
        ratio = record["shapes"]["casia"]["heads"][0]["ratio_to_limit"]
        assert f'<td class="text-right"><p>{ratio:.2f}</p></td>' in text
    assert "cdml-benchmark: there is no benchmark named tails" in warnings


@pytest.mark.book
def test_built_page_has_a_table_or_the_command_for_each(site):
    text = (site / "benchmarks.html").read_text(encoding="utf-8")
    for name in benchmark_tables.BENCHMARKS:
        record = results.benchmark(name) or results.benchmark(name, "cuda")
        if record is None:
            assert re.search(
                rf"Not measured yet; run <code[^>]*><span[^>]*>cdmllab</span> "
                rf"<span[^>]*>bench</span> "
                rf"<span[^>]*>{name}</span></code>",
                text,
            )
        else:
            for _, table in benchmark_tables.BENCHMARKS[name].tables(record):
                assert f"<p>{table.rows[0][1]}</p>" in text
