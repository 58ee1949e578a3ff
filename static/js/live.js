// One EventSource a page: <body data-live-topics="job:418 cluster:3" data-live-after="123">.
// Each event becomes a DOM event `live:<event>` on body (detail = its data); htmx parts say hx-trigger="live:steps from:body".
// The cursor stands in the URL too, so that a fresh connection goes on where the last one ended; who listens drops what it has.

const EVENTS = ["line", "steps", "progress", "status", "sample", "topology", "evidence", "alerts", "gone"];
const HIDDEN_SECONDS = 30; // browsers allow six connections a host over HTTP/1.1: a tab that nobody sees gives its back
const RETRY_SECONDS = [1, 2, 4, 8];
const TONES = { open: "streaming", lost: "catching", closed: "unknown" }; // the words are the mark's own data-open, data-lost, data-closed

class Live {
  constructor(body) {
    this.body = body;
    this.topics = body.dataset.liveTopics.split(/\s+/).filter(Boolean);
    this.cursor = body.dataset.liveAfter || "";
    this.failures = 0;
    this.everOpen = false;
    this.mark = document.querySelector("[data-live-mark]");
    document.addEventListener("visibilitychange", () => this.visibility());
    addEventListener("pagehide", () => this.close());
    addEventListener("pageshow", (event) => { if (event.persisted) this.open(); });
    this.open();
  }

  url() {
    const query = new URLSearchParams(this.topics.map((topic) => ["topic", topic]));
    query.set("after", this.cursor);
    return `${this.body.dataset.liveUrl || "/live/"}?${query}`;
  }

  open() {
    this.close();
    this.source = new EventSource(this.url());
    this.source.onopen = () => this.opened();
    this.source.onerror = () => this.failed();
    for (const name of EVENTS) this.source.addEventListener(name, (event) => this.received(name, event));
  }

  close() {
    clearTimeout(this.retry);
    this.source?.close();
    this.source = null;
  }

  opened() {
    this.failures = 0;
    this.show("open");
    // what changed while nobody listened is fetched again: parts refresh on the same events as always
    if (this.everOpen) for (const name of ["steps", "topology", "reopened"]) this.dispatch(name, { reopened: true });
    this.everOpen = true;
  }

  failed() {
    this.show("lost");
    if (this.source?.readyState !== EventSource.CLOSED) return; // the browser itself tries again
    this.close();
    const seconds = RETRY_SECONDS[Math.min(this.failures++, RETRY_SECONDS.length - 1)];
    this.retry = setTimeout(() => this.open(), seconds * 1000);
  }

  received(name, event) {
    if (event.lastEventId) this.cursor = event.lastEventId;
    let data;
    try { data = JSON.parse(event.data); } catch { return; }
    if (name === "gone") { this.close(); this.show("closed"); }
    this.dispatch(name, data);
  }

  dispatch(name, data) {
    this.body.dispatchEvent(new CustomEvent(`live:${name}`, { detail: data }));
  }

  visibility() {
    clearTimeout(this.hiding);
    if (document.hidden) this.hiding = setTimeout(() => this.close(), HIDDEN_SECONDS * 1000);
    else if (!this.source && !this.retry) this.open();
    else if (!this.source) { this.retry = null; this.open(); }
  }

  show(state) {
    this.body.dataset.live = state;
    if (!this.mark) return;
    this.mark.hidden = false;
    this.mark.className = `live-mark state ${TONES[state]}`;
    this.mark.textContent = this.mark.dataset[state];
  }
}

export function listen() { return document.body.dataset.liveTopics?.trim() ? new Live(document.body) : null; }
