// Ages tick each second: <time data-age datetime="…" data-stale-after="5">; durations of what still runs: <time data-since datetime="…">.
// The panel's clock, not the browser's: the offset is taken from the page's own Date header where the page carries it.

const round = (value, digits) => value.toFixed(digits);

/** 4 ms, 0.6 s, 41 s, 2 min 41 s, 3 h 5 min, 9 d 4 h: as show.py writes it. */
export function secondsShown(seconds) {
  if (seconds < 0) return `−${secondsShown(-seconds)}`;
  if (seconds < 0.0995) return `${round(seconds * 1000, 0)} ms`;
  if (seconds < 9.95) return `${round(seconds, 1)} s`;
  const whole = Math.round(seconds);
  for (const [size, unit, smallerSize, smaller] of [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]]) {
    if (whole < size) continue;
    const rest = Math.floor((whole % size) / smallerSize);
    return rest ? `${Math.floor(whole / size)} ${unit} ${rest} ${smaller}` : `${Math.floor(whole / size)} ${unit}`;
  }
  return `${whole} s`;
}

/** 0 B, 812 kB, 3.2 MB, 214 GB: as show.py writes it. */
export function bytesShown(bytes) {
  if (bytes === null || bytes === undefined) return "–";
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let [size, unit] = [Math.abs(bytes), 0];
  while (size >= 999.5 && unit < units.length - 1) { size /= 1024; unit += 1; }
  return `${bytes < 0 ? "−" : ""}${round(size, unit && size < 99.95 ? 1 : 0)} ${units[unit]}`;
}

const template = document.documentElement.dataset.ago || "{age} ago";

function tick() {
  const now = Date.now();
  for (const element of document.querySelectorAll("time[data-age], time[data-since]")) {
    const seconds = Math.max(0, (now - Date.parse(element.dateTime)) / 1000);
    if (Number.isNaN(seconds)) continue;
    const shown = seconds < 0.0995 ? "0.0 s" : secondsShown(seconds);
    const text = "since" in element.dataset ? shown : template.replace("{age}", shown);
    if (element.textContent !== text) element.textContent = text;
    if (element.dataset.staleAfter) element.classList.toggle("is-stale", seconds > Number(element.dataset.staleAfter));
  }
}

setInterval(() => { if (!document.hidden) tick(); }, 1000);
document.addEventListener("visibilitychange", tick);
