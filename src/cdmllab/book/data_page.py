"""The tables of the book's page of data sets, in Markdown, from the registry of data sets."""

from cdmllab.data import registry
from cdmllab.data.registry import DataSet


def files_table() -> str:
    """The inputs of each script below a data folder, and its outputs."""
    lines = ["| set | put there | the script makes |", "|---|---|---|"]
    for data_set in registry.load().sets.values():
        if data_set.script:
            lines.append(f"| {data_set.label} | {_inputs(data_set)} | {_outputs(data_set)} |")
    return "\n".join(lines)


def terms_table() -> str:
    """What each set has in it, where it comes from, and under which terms it is published."""
    head = "| set | contents and history | licence as stated by its makers | get it |"
    lines = [head, "|---|---|---|---|"]
    for data_set in registry.load().sets.values():
        cited = f" {{cite}}`{','.join(data_set.bibliography)}`" if data_set.bibliography else ""
        contents = "; ".join(filter(None, (data_set.contents, data_set.history)))
        licence = data_set.licence + (", by request" if data_set.by_request else "")
        # The name of Sun* would begin an emphasis.
        source = data_set.source.replace("*", r"\*")
        lines.append(f"| {data_set.label}{cited} | {contents} | {licence} | {source} |")
    return "\n".join(lines)


def _inputs(data_set: DataSet) -> str:
    pack = f"`{data_set.pack}` (InsightFace's pack, or its zip), or " if data_set.pack else ""
    needs = ", ".join(map(_alternatives, data_set.needs.values())) or "nothing"
    optional = ", ".join(f"`{names[0]}`" for names in data_set.optional.values())
    optional = f"; optional: {optional}" if optional and data_set.needs else ""
    layout = f"; {data_set.layout}" if data_set.layout else ""
    return pack + needs + optional + layout


def _alternatives(names: tuple[str, ...]) -> str:
    first, *others = (f"`{name}`" for name in names)
    return first + (f" (or {', '.join(others)})" if others else "")


def _outputs(data_set: DataSet) -> str:
    made = ", ".join(f"`{name}`" for name in data_set.makes)
    if not made:
        return "nothing: checked and read as they are"
    return f"nothing if the pack is there, else {made}" if data_set.pack else made
