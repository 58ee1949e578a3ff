// The lag chart: seconds and bytes of replay lag, one line a standby, one second a point; a gap is "not known", never 0.
//
// <div data-lag-chart data-url="/monitor/c/x/data/" data-seconds="60"> is filled from JSON
//   {"at": [epoch seconds…], "nodes": {"pg2": {"bytes": [… | null], "seconds": [… | null]}}, "marks": [{at, kind, says}…]}
// asked for as <url>?seconds=<window>, and goes on by `live:sample` {at, nodes: {pg2: {replay_bytes, replay_seconds}}}.
// Marks (jobs, restarts, role changes, alerts) are upright lines with a letter, and words in the card's [data-marks], newest first.
// Buttons [data-range="3600"] in the same card choose the window. Colours are the theme's; each line has its own dash too.
import uPlot from "../vendor/uplot/uPlot.esm.js";
import { bytesShown, secondsShown } from "./age.js";

const LIVE_WINDOW_SECONDS = 600; // beyond it, points are fewer than samples: fetched again instead of appended
const REFETCH_SECONDS = 30;
const SAY_SECONDS = 10;
const NO_LAG = new Set(["primary", "second-primary", "unreachable", "unknown"]); // as the server's own series leaves them out
const MARKS = { job: "J", restart: "R", role: "⇄", alert: "!" };
const MARK_APART = 13; // letters nearer than this stand on each other
const DASHES = [undefined, [8, 4], [2, 3], [10, 3, 2, 3]];
const zone = document.documentElement.dataset.zone || undefined;
const clocks = [true, false].map((withSeconds) => new Intl.DateTimeFormat("en-GB", {
  hour: "2-digit", minute: "2-digit", second: withSeconds ? "2-digit" : undefined, timeZone: zone,
}));
const date = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: zone });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", timeZone: zone });

/** A CSS colour as the canvas understands it, in the present theme. */
function colour(name, box) {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  box.append(probe);
  const seen = getComputedStyle(probe).color;
  probe.remove();
  return seen;
}

/** seconds since the epoch, of an ISO text or a number */
const epoch = (at) => (typeof at === "number" ? at : Date.parse(at) / 1000);

class LagChart {
  constructor(box) {
    this.box = box;
    this.window = Number(box.dataset.seconds) || 60;
    this.at = [];
    this.nodes = new Map();
    this.marks = [];
    this.plots = [];
    box.classList.add("chart");
    box.setAttribute("role", "img");
    const card = box.closest(".card") ?? box.parentElement;
    card.addEventListener("click", (event) => {
      const button = event.target.closest("[data-range]");
      if (button) { event.preventDefault(); this.range(Number(button.dataset.range), card); }
    });
    this.heard = ({ detail }) => this.append(detail);
    document.body.addEventListener("live:sample", this.heard);
    document.addEventListener("theme", () => this.draw());
    this.again = () => { if (this.box.isConnected) this.fetch(); };
    for (const event of ["live:reopened", "live:alerts", "live:topology"]) document.body.addEventListener(event, this.again);
    this.list = card.querySelector("[data-marks]");
    new ResizeObserver(() => this.resize()).observe(box);
    this.timer = setInterval(() => this.every(), 1000);
    this.ticks = 0;
    this.mark(card);
    this.fetch();
  }

  range(seconds, card) {
    this.window = seconds;
    this.mark(card);
    this.fetch();
  }

  mark(card) {
    for (const button of card.querySelectorAll("[data-range]"))
      button.setAttribute("aria-pressed", String(Number(button.dataset.range) === this.window));
  }

  // -- data -------------------------------------------------------------------------------------------------------------------

  async fetch() {
    const asked = this.window;
    const url = new URL(this.box.dataset.url, location.href);
    url.searchParams.set("seconds", String(asked));
    const answer = await fetch(url, { headers: { Accept: "application/json" } }).catch(() => null);
    if (!answer?.ok || answer.redirected || asked !== this.window) return;
    const data = await answer.json();
    this.at = data.at.map(epoch);
    this.nodes = new Map(Object.entries(data.nodes).map(([name, one]) => [name, { bytes: [...one.bytes], seconds: [...one.seconds] }]));
    this.marks = data.marks ?? [];
    this.draw();
    this.tell();
  }

  append({ at, nodes }) {
    const time = epoch(at);
    if (this.window > LIVE_WINDOW_SECONDS || !(time > (this.at.at(-1) ?? 0))) return;
    const standbys = Object.entries(nodes).filter(([name, node]) => this.nodes.has(name) || (node.role === "standby" && !NO_LAG.has(node.state)));
    const isNew = standbys.some(([name]) => !this.nodes.has(name));
    for (const [name] of standbys)
      if (!this.nodes.has(name)) this.nodes.set(name, { bytes: this.at.map(() => null), seconds: this.at.map(() => null) });
    this.at.push(time);
    for (const [name, series] of this.nodes) {
      series.bytes.push(nodes[name]?.replay_bytes ?? null);
      series.seconds.push(nodes[name]?.replay_seconds ?? null);
    }
    while (this.at.length && this.at[0] < time - this.window - 5) {
      this.at.shift();
      for (const series of this.nodes.values()) { series.bytes.shift(); series.seconds.shift(); }
    }
    if (isNew || !this.plots.length) this.draw();
    else this.update();
  }

  every() {
    if (!this.box.isConnected) { this.end(); return; }
    if (document.hidden) return;
    this.ticks += 1;
    if (this.window > LIVE_WINDOW_SECONDS && this.ticks % REFETCH_SECONDS === 0) this.fetch();
    if (this.window <= LIVE_WINDOW_SECONDS) this.update(); // time passes even when no sample comes: the gap shows
    if (this.ticks % SAY_SECONDS === 1) this.say();
  }

  end() {
    clearInterval(this.timer);
    document.body.removeEventListener("live:sample", this.heard);
    for (const event of ["live:reopened", "live:alerts", "live:topology"]) document.body.removeEventListener(event, this.again);
    for (const plot of this.plots) plot.destroy();
  }

  // -- drawing ----------------------------------------------------------------------------------------------------------------

  draw() {
    for (const plot of this.plots) plot.destroy();
    this.box.replaceChildren();
    this.box.removeAttribute("aria-busy");
    if (!this.nodes.size) { this.empty(); this.say(); this.plots = []; return; }
    const look = { text: colour("--tblr-secondary", this.box), grid: colour("--tblr-border-color", this.box) };
    look.alert = colour("--tblr-danger", this.box);
    look.lines = [1, 2, 3, 4, 5, 6].map((number) => colour(`--series-${number}`, this.box));
    this.plots = [["seconds", 170, (v) => (v === null ? "–" : secondsShown(v))], ["bytes", 170, (v) => (v === null ? "–" : bytesShown(v))]].map(
      ([unit, height, shown]) => new uPlot(this.options(unit, height, shown, look), this.data(unit), this.box),
    );
    this.newest();
    this.say();
  }

  empty() {
    const line = document.createElement("p");
    line.className = "text-secondary m-0 py-4 text-center";
    line.textContent = this.box.dataset.empty || "No standby has been sampled yet.";
    this.box.append(line);
  }

  data(unit) { return [this.at, ...[...this.nodes.values()].map((series) => series[unit])]; }

  options(unit, height, shown, look) {
    const axis = { stroke: look.text, grid: { stroke: look.grid, width: 1 }, ticks: { stroke: look.grid, width: 1 }, font: "12px system-ui" };
    const least = unit === "seconds" ? 0.05 : 1024; // an idle cluster is a flat line at the bottom, not magnified noise
    return {
      width: this.box.clientWidth, height, padding: [8, 8, 0, 0],
      cursor: { sync: { key: "lag" }, points: { size: 7 } },
      legend: { live: true },
      hooks: { draw: [(plot) => this.drawMarks(plot, look)] },
      scales: { x: { range: () => this.span() }, y: { range: (_plot, _min, max) => [0, Math.max(least, (max ?? 0) * 1.1)] } },
      series: [
        { label: this.box.dataset[`${unit}Label`] || (unit === "seconds" ? "Time behind" : "Bytes behind"), value: (_plot, at) => (at ? (this.window > 3600 ? day : clocks[0]).format(at * 1000) : "") },
        ...[...this.nodes.keys()].map((name, number) => ({
          label: name, stroke: look.lines[number % look.lines.length], dash: DASHES[number % DASHES.length], width: 2,
          points: { show: false }, spanGaps: false, value: (_plot, v) => shown(v),
        })),
      ],
      axes: [
        { ...axis, space: 70, values: (_plot, ticks) => ticks.map((at) => this.clock(at)) },
        { ...axis, size: 66, values: (_plot, ticks) => ticks.map((v) => (v === 0 ? "0" : shown(v))),
          incrs: unit === "bytes" ? [...Array(50)].flatMap((_, power) => [2 ** power]) : undefined },
      ],
    };
  }

  drawMarks(plot, look) {
    const { ctx, bbox } = plot;
    const [from, to] = this.span();
    const ratio = devicePixelRatio;
    ctx.save();
    ctx.lineWidth = ratio;
    ctx.font = `600 ${11 * ratio}px system-ui`;
    ctx.textAlign = "center";
    ctx.textBaseline = "top";
    let last = -Infinity;
    for (const { at, kind } of this.marks) {
      if (at < from || at > to) continue;
      const x = Math.round(plot.valToPos(at, "x", true));
      ctx.strokeStyle = ctx.fillStyle = kind === "alert" ? look.alert : look.text;
      ctx.setLineDash([3 * ratio, 3 * ratio]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top + 14 * ratio);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      if (x - last < MARK_APART * ratio) continue;
      last = x;
      ctx.fillText(MARKS[kind] ?? "·", x, bbox.top);
    }
    ctx.restore();
  }

  /** The marks in words, newest first. */
  tell() {
    if (!this.list) return;
    this.list.hidden = !this.marks.length;
    this.list.querySelector("ul").replaceChildren(...this.marks.toReversed().map(({ at, kind, says }) => {
      const line = document.createElement("li");
      const letter = document.createElement("span");
      letter.className = `chart-mark ${kind}`;
      letter.setAttribute("aria-hidden", "true");
      letter.textContent = MARKS[kind] ?? "·";
      const when = document.createElement("time");
      when.dateTime = new Date(at * 1000).toISOString();
      when.className = "num text-secondary";
      when.textContent = `${date.format(at * 1000)} ${clocks[0].format(at * 1000)}`;
      line.append(letter, when, ` ${says}`);
      return line;
    }));
  }

  clock(at) { return (this.window > 36 * 3600 ? date : clocks[this.window > 3600 ? 1 : 0]).format(at * 1000); }

  /** The window's two ends: now is where the newest sample is, or the clock when samples have stopped. */
  span() {
    const last = this.at.at(-1) ?? Date.now() / 1000;
    const now = Math.max(last, Date.now() / 1000 - 2 < last + 5 ? last : Date.now() / 1000);
    return [now - this.window, now];
  }

  update() {
    for (const [number, unit] of ["seconds", "bytes"].entries()) this.plots[number]?.setData(this.data(unit));
    this.newest();
  }

  /** Where no pointer asks for a moment, the legend tells the newest. */
  newest() {
    // after uPlot's own commit, which empties it
    requestAnimationFrame(() => {
      for (const plot of this.plots) if (!(plot.cursor.left >= 0)) plot.setLegend({ idx: this.at.length - 1 });
    });
  }

  resize() {
    const width = this.box.clientWidth;
    for (const plot of this.plots) if (width && plot.width !== width) plot.setSize({ width, height: plot.height });
  }

  /** The picture in words. */
  say() {
    const parts = [...this.nodes].map(([name, series]) => {
      const [seconds, bytes] = [series.seconds.at(-1), series.bytes.at(-1)];
      const known = (value, shown) => (value === null || value === undefined ? document.documentElement.dataset.unknown : shown(value));
      return `${name}: ${known(seconds, secondsShown)}, ${known(bytes, bytesShown)}`;
    });
    this.box.setAttribute("aria-label", `${this.box.dataset.label || "Replay lag now"}. ${parts.join("; ") || "No samples."}`);
  }
}

export function start(box) { return new LagChart(box); }
