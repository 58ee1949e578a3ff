// A job's log: follow, search, copy; a line is never lost nor doubled, because each has its number (data-seq) and its place.
//
// <div id="log" data-log data-log-limit="20000" tabindex="0" role="log"> holds lines as the server rendered them:
//   <div data-seq="12"><time datetime="…">12:04:12.1</time><span class="host">pg1</span><span class="command">$ …</span></div>
// and listens to `live:line` {seq, at, node, step, voice, text}. Tools, found by data-log-tools="log" (the log's id):
//   input[data-log-search], [data-log-count], button[data-log-next|previous|follow|copy].

const CHUNK = 250; // lines that the browser lays out or skips together (content-visibility on each line costs more than it saves)
const LIMIT = 20000; // older lines leave the page, never the database: the download has them all
const VOICES = new Set(["command", "output", "error", "note"]);
const PROMPT = { command: "$ " };

const clock = new Intl.DateTimeFormat("en-GB", {
  hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 1, timeZone: document.documentElement.dataset.zone || undefined,
});

class Log {
  constructor(box) {
    this.box = box;
    this.limit = Number(box.dataset.logLimit) || LIMIT;
    this.lines = [...box.querySelectorAll("[data-seq]")];
    this.seen = new Set(this.lines.map((line) => Number(line.dataset.seq)));
    this.waiting = [];
    this.hits = [];
    this.hit = -1;
    this.early = box.querySelector(".log-missing");
    this.add(this.lines);
    this.tools = document.querySelector(`[data-log-tools="${box.id}"]`);
    this.isFollowing = !("logStill" in box.dataset);
    document.body.addEventListener("live:line", ({ detail }) => this.take(detail));
    // a wheel or a key upwards is the person's wish to read; arriving at the end is the wish to follow again
    box.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.listen();
    this.follow(this.isFollowing);
  }

  listen() {
    const part = (name) => this.tools?.querySelector(`[data-log-${name}]`);
    [this.search, this.count, this.followButton] = [part("search"), part("count"), part("follow")];
    let pause;
    this.search?.addEventListener("input", () => { clearTimeout(pause); pause = setTimeout(() => this.find(), 120); });
    this.search?.addEventListener("keydown", (event) => {
      if (event.key === "Enter") { event.preventDefault(); this.step(event.shiftKey ? -1 : 1); }
      if (event.key === "Escape") { this.search.value = ""; this.find(); }
    });
    part("next")?.addEventListener("click", () => this.step(1));
    part("previous")?.addEventListener("click", () => this.step(-1));
    this.followButton?.addEventListener("click", () => this.follow(!this.isFollowing));
    part("copy")?.addEventListener("click", (event) => this.copy(event.currentTarget));
  }

  // -- lines ------------------------------------------------------------------------------------------------------------------

  take(data) {
    if (this.seen.has(data.seq) || data.seq < this.dropped) return;
    this.seen.add(data.seq);
    this.waiting.push(data);
    this.frame ||= requestAnimationFrame(() => this.draw());
    // a hidden tab gets no frames: draw before much piles up
    if (document.hidden && this.waiting.length > 500) { cancelAnimationFrame(this.frame); this.draw(); }
  }

  draw() {
    this.frame = null;
    const fresh = this.waiting.sort((one, other) => one.seq - other.seq);
    this.waiting = [];
    const last = this.lastSeq();
    const later = fresh.filter((data) => data.seq > last).map(row);
    for (const data of fresh.filter((one) => one.seq < last)) this.insert(row(data));
    this.add(later);
    this.lines.push(...later);
    this.trim();
    if (this.search?.value) this.find({ still: true });
    if (this.isFollowing) this.toEnd();
  }

  /** At the end, in chunks. */
  add(lines) {
    for (let from = 0; from < lines.length;) {
      if (!this.chunk || this.chunk.childElementCount >= CHUNK) {
        this.chunk = document.createElement("div");
        this.chunk.className = "chunk";
        this.box.append(this.chunk);
      }
      const until = from + CHUNK - this.chunk.childElementCount;
      this.chunk.append(...lines.slice(from, until));
      from = until;
    }
  }

  lastSeq() {
    const last = this.lines.at(-1);
    return last ? Number(last.dataset.seq) : -1;
  }

  /** A line that arrives late goes to its place. */
  insert(line) {
    const seq = Number(line.dataset.seq);
    let place = this.lines.length;
    while (place > 0 && Number(this.lines[place - 1].dataset.seq) > seq) place -= 1;
    this.lines[place].before(line); // there is a later one, else it would have been added at the end
    this.lines.splice(place, 0, line);
  }

  trim() {
    const over = this.lines.length - this.limit;
    if (over <= 0) return;
    const gone = this.lines.splice(0, over + Math.floor(this.limit / 20));
    this.dropped = Number(gone.at(-1).dataset.seq) + 1;
    for (const line of gone) { this.seen.delete(Number(line.dataset.seq)); line.remove(); }
    for (const chunk of this.box.querySelectorAll(".chunk:empty")) if (chunk !== this.chunk) chunk.remove();
    if (!this.early) {
      this.early = document.createElement("p");
      this.early.className = "log-missing mb-0";
      this.early.textContent = this.box.dataset.logEarlier || "Earlier lines are in the download.";
      this.box.prepend(this.early);
    }
  }

  // -- follow -----------------------------------------------------------------------------------------------------------------

  toEnd() {
    this.box.scrollTop = this.box.scrollHeight;
    this.ownTop = this.box.scrollTop;
  }

  scrolled() {
    if (Math.abs(this.box.scrollTop - this.ownTop) < 2) return; // our own scrolling
    const isAtEnd = this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < 24;
    if (isAtEnd !== this.isFollowing) this.mark(isAtEnd);
  }

  follow(on) {
    this.mark(on);
    if (on) this.toEnd();
  }

  mark(on) {
    this.isFollowing = on;
    this.followButton?.setAttribute("aria-pressed", String(on));
  }

  // -- search -----------------------------------------------------------------------------------------------------------------

  find({ still = false } = {}) {
    const wanted = this.search.value.trim().toLowerCase();
    const current = this.hits[this.hit];
    for (const line of this.box.querySelectorAll(".is-current-hit")) line.classList.remove("is-current-hit");
    this.hits = wanted ? this.lines.filter((line) => line.textContent.toLowerCase().includes(wanted)) : [];
    this.hit = this.hits.indexOf(current);
    this.paint(wanted);
    if (wanted && !still) { this.mark(false); this.hit = -1; this.step(1); }
    else if (this.hit >= 0) this.hits[this.hit].classList.add("is-current-hit");
    this.tell(wanted);
  }

  step(by) {
    if (!this.hits.length) return;
    this.hits[this.hit]?.classList.remove("is-current-hit");
    this.hit = (this.hit + by + this.hits.length) % this.hits.length;
    this.hits[this.hit].classList.add("is-current-hit");
    this.mark(false);
    this.hits[this.hit].scrollIntoView({ block: "center" });
    this.ownTop = this.box.scrollTop;
    this.tell(this.search.value);
  }

  tell(wanted) {
    if (!this.count) return;
    this.count.textContent = !wanted ? "" : this.hits.length ? `${Math.max(this.hit, 0) + 1} / ${this.hits.length}` : "0 / 0";
  }

  /** Matches are painted by the browser's highlights: the lines themselves are not touched. */
  paint(wanted) {
    if (!globalThis.CSS?.highlights) return;
    const ranges = [];
    for (const line of wanted ? this.hits.slice(0, 2000) : []) {
      const walker = document.createTreeWalker(line, NodeFilter.SHOW_TEXT);
      for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const text = node.data.toLowerCase();
        for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, at + wanted.length)) {
          const range = new Range();
          range.setStart(node, at);
          range.setEnd(node, at + wanted.length);
          ranges.push(range);
        }
      }
    }
    CSS.highlights.set("log-search", new Highlight(...ranges));
  }

  // -- copy -------------------------------------------------------------------------------------------------------------------

  text() {
    return this.lines.map((line) => [...line.children].map((part) => part.textContent).join("\t")).join("\n");
  }

  async copy(button) {
    const said = button.textContent;
    let done = true;
    try { await navigator.clipboard.writeText(this.text()); }
    catch { getSelection().selectAllChildren(this.box); done = document.execCommand("copy"); getSelection().removeAllRanges(); }
    if (done) button.textContent = button.dataset.done || "✓";
    setTimeout(() => { button.textContent = said; }, 1500);
  }
}

function row(data) {
  const line = document.createElement("div");
  const [time, host, text] = ["time", "span", "span"].map((name) => document.createElement(name));
  line.dataset.seq = data.seq;
  time.dateTime = data.at;
  time.textContent = clock.format(new Date(data.at));
  host.className = "host";
  host.textContent = data.node || "";
  text.className = VOICES.has(data.voice) ? data.voice : "output";
  text.textContent = (PROMPT[data.voice] ?? "") + data.text;
  line.append(time, host, text);
  return line;
}

export function start(box) { return new Log(box); }
