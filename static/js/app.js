// Starts what a page (or a part that htmx brought in) needs; everything also reads and confirms without it.
import { listen } from "./live.js";
import "./age.js";
import "./forms.js";

const PARTS = [
  ["[data-log]", () => import("./log.js")],
  ["[data-lag-chart]", () => import("./chart.js")],
  ["[data-watch]", () => import("./watch.js")],
  ["progress[data-progress]", () => import("./progress.js")],
];

/** Resolves when every part is ready to hear. */
export function start(root) {
  const loads = [];
  for (const [selector, load] of PARTS) {
    const found = [...(root.matches?.(selector) ? [root] : []), ...root.querySelectorAll(selector)];
    for (const element of found.filter((one) => !one.dataset.started)) {
      element.dataset.started = "yes";
      loads.push(load().then((module) => module.start(element)).catch((error) => { delete element.dataset.started; console.error(error); }));
    }
  }
  return Promise.all(loads);
}

start(document).then(listen); // not before: an event that nobody hears would be lost
document.addEventListener("htmx:load", (event) => start(event.target));

// whoever is signed out meanwhile gets the door, not a door inside a card
document.addEventListener("htmx:beforeSwap", (event) => {
  if (!new URL(event.detail.xhr.responseURL, location.href).pathname.startsWith("/accounts/")) return;
  event.detail.shouldSwap = false;
  location.reload();
});
