"""The violations that axe-core finds on a page, for screen readers and keyboards."""

from pathlib import Path

from playwright.sync_api import Page

AXE = Path(__file__).parent / "axe/axe.min.js"
RUN = """async () => {
  const found = await axe.run(document, { resultTypes: ["violations"], preload: false });
  return { rules: found.passes.length, faults: found.violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, nodes }) => nodes.map((node) =>
      `${id}: ${node.target.join(" ")} ${node.html.slice(0, 200)}`)) };
}"""


def faults(page: Page) -> list[str]:
    """The violations found by axe, one line per element."""
    page.wait_for_load_state("networkidle", timeout=120_000)  # busy machines
    page.add_script_tag(path=AXE)
    result = page.evaluate(RUN)
    assert result["rules"] > 10  # a sign that axe ran
    return result["faults"]
