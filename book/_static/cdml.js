// What can be scrolled sideways can be reached by the keyboard, and only that.
(() => {
  "use strict";
  const WIDE = ".cdml-drawing, mjx-container[display=true], div.math";
  const mark = () => document.querySelectorAll(WIDE).forEach((element) => {
    if (element.scrollWidth > element.clientWidth) element.setAttribute("tabindex", "0");
    else element.removeAttribute("tabindex");
  });
  const watch = () => {
    mark();
    new ResizeObserver(mark).observe(document.body);
    new MutationObserver(mark).observe(document.body, { childList: true, subtree: true });  // equations come late
  };
  document.addEventListener("DOMContentLoaded", watch);
})();
