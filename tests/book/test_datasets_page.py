"""The page of data sets takes its tables from the registry."""

import re


def test_directive_builds_both_tables_and_reports_an_unknown_one(build_miniature):
    names = ("files", "terms", "prices")
    directives = "\n\n".join(f"```{{cdml-datasets}} {name}\n```" for name in names)
    folder, warnings = build_miniature(page=f"# A page\n\n{directives}\n")
    text = (folder / "page.html").read_text(encoding="utf-8")
    assert text.count("<table") == 2
    words = re.sub(r"<[^>]+>", "", text)  # long names are in pieces, to be broken between them
    assert "verification/agedb_30.bin" in words
    assert "non-commercial research only, by request" in words
    assert "cdml-datasets: there is no table called prices" in warnings
