// Starts what a page (or a part that htmx brought in) needs; everything also reads and confirms without it.
import "./live.js";
import "./age.js";
import "./forms.js";

const PARTS = [
  ["[data-log]", () => import("./log.js")],
  ["[data-lag-chart]", () => import("./chart.js")],
  ["progress[data-progress]", () => import("./progress.js")],
];

export function start(root) {
  for (const [selector, load] of PARTS) {
    const found = [...(root.matches?.(selector) ? [root] : []), ...root.querySelectorAll(selector)];
    for (const element of found.filter((one) => !one.dataset.started)) {
      element.dataset.started = "yes";
      load().then((module) => module.start(element)).catch((error) => { delete element.dataset.started; console.error(error); });
    }
  }
}

start(document);
document.addEventListener("htmx:load", (event) => start(event.target));
