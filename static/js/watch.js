// Numbers that go on: pills of the topology, cells of the node table, ages of last looks. Roles, links and state words do not change
// here: for those the server announces live:topology and the part is fetched again.
import { bytesShown, secondsShown } from "./age.js";

const CHARACTER = 6.7, PADDING = 22; // as monitor/topology.py measures a pill
const shown = (value, how) => (value === null || value === undefined ? "–" : how(value));
const template = document.documentElement.dataset.ago || "{age} ago";

class Watch {
  constructor(root) {
    this.root = root;
    this.at = 0;
    this.heard = ({ detail }) => this.sample(detail);
    document.body.addEventListener("live:sample", this.heard);
    this.timer = setInterval(() => this.tick(), 1000);
  }

  sample({ at, nodes }) {
    if (!(at > this.at)) return; // replayed after a reconnect
    this.at = at;
    for (const [name, node] of Object.entries(nodes)) {
      const selector = CSS.escape(name);
      for (const pill of this.root.querySelectorAll(`[data-pill="${selector}"]`))
        this.pill(pill, `${shown(node.replay_bytes, bytesShown)} · ${shown(node.replay_seconds, secondsShown)}`);
      for (const cell of this.root.querySelectorAll(`[data-node="${selector}"] [data-field]`)) {
        const value = node[cell.dataset.field];
        cell.textContent = shown(value, cell.dataset.field.endsWith("_bytes") ? bytesShown : secondsShown);
      }
      if (!node.seen_at) continue;
      const seen = new Date(node.seen_at * 1000).toISOString();
      for (const age of this.root.querySelectorAll(`[data-seen="${selector}"]`)) age.dataset.at = seen;
      for (const age of this.root.querySelectorAll(`[data-node="${selector}"] time[data-age]`)) age.dateTime = seen;
    }
  }

  pill(pill, text) {
    const label = pill.querySelector("text");
    if (label.textContent === text) return;
    label.textContent = text;
    const width = text.length * CHARACTER + PADDING;
    for (const rect of pill.querySelectorAll("rect")) {
      rect.setAttribute("width", width);
      rect.setAttribute("x", Number(pill.dataset.x) - width / 2);
    }
  }

  tick() {
    if (!this.root.isConnected) {
      clearInterval(this.timer);
      document.body.removeEventListener("live:sample", this.heard);
      return;
    }
    for (const age of this.root.querySelectorAll("[data-seen][data-at]")) {
      const seconds = Math.max(0, (Date.now() - Date.parse(age.dataset.at)) / 1000);
      if (!Number.isNaN(seconds)) age.textContent = template.replace("{age}", secondsShown(seconds < 10 ? Math.round(seconds * 10) / 10 : seconds));
    }
  }
}

export function start(root) { return new Watch(root); }
