"""Operate a widget of a built page, and create its Python twin with the same values."""

from playwright.sync_api import Locator, Page

from cdmllab.book import widgets
from cdmllab.book.widgets import Widget

READ = "(e, names) => Object.fromEntries(names.map(name => [name, e.cdmlModel.get(name)]))"

# The handle of each widget, and the values that dragging it changes.
HANDLES = {
    "target_logit": (".tl-marker", {"theta_deg"}),
    "decision_boundary": (".db-sample", {"position_deg"}),
    "cdml_at_work": (".ca-sample[data-sample='4']", {"angles_deg"}),
    "hypersphere": (".hs-plot svg", {"azimuth_deg"}),
    "threshold": (".th-handle", {"threshold"}),
    "face_lab": (".fl-live canvas", {"yaw"}),
    "two_losses": (".tw-marker", {"theta_deg"}),
    "power": (".pw-handle >> nth=0", {"effect"}),
}


def widget(page: Page, name: str) -> Locator:
    """The first widget of that name, after it has been drawn."""
    result = page.locator(f".cdml-widget[data-widget={name}]").first
    result.locator("svg path, svg circle").first.wait_for(state="attached")
    return result


def twin(page: Page, name: str) -> Widget:
    """The Python widget with the current values of the page's widget."""
    kind = widgets.WIDGETS[name]
    return kind(**widget(page, name).evaluate(READ, list(kind.state_traits())))


def changed(before: Widget, after: Widget) -> set[str]:
    """The names of the values that differ."""
    return {key for key, value in after.state().items() if value != before.state()[key]}


def choose(page: Page, name: str, value: str, text: str) -> None:
    """Choose from a list or among radio buttons, as a reader would."""
    where = widget(page, name)
    listed = where.locator(f"select[name={value}]")
    if listed.count():
        listed.select_option(label=text)
    else:  # the radio button is hidden in its label
        where.locator(f"input[type=radio][name*='-{value}-']").and_(
            where.get_by_label(text, exact=True)
        ).locator("xpath=..").click()


def drag(page: Page, where: Locator, across: float, down: float = 0.0) -> None:
    """Press the mouse in the middle of an element, move it, and release it."""
    where.scroll_into_view_if_needed()
    box = where.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + across, y + down, steps=6)
    page.mouse.up()


def swipe(page: Page, where: Locator, across: float, down: float = 0.0, share: float = 0.5) -> None:
    """The same with a finger, at some share of the element's width."""
    where.evaluate("e => e.scrollIntoView({ block: 'center', behavior: 'instant' })")
    box = where.bounding_box()
    x, y = box["x"] + share * box["width"], box["y"] + box["height"] / 2
    finger = page.context.new_cdp_session(page)
    finger.send(
        "Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]}
    )
    for step in range(1, 9):
        point = {"x": x + across * step / 8, "y": y + down * step / 8}
        finger.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def readout(page: Page, name: str) -> dict[str, str]:
    """The displayed numbers."""
    cells = widget(page, name).locator("dd").all()
    return {cell.get_attribute("data-value"): cell.inner_text() for cell in cells}


def written(value: float, digits: int, unit: str = "") -> str:
    """A number in the kit's format."""
    text = f"{value:.{digits}f}"
    return (
        text.replace("-", "") if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")
    ) + unit
