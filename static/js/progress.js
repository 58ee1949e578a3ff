// The bar of a long step: <progress data-progress="standby.copy#pg2"> beside <… data-progress-text>, moved by `live:progress`.
import { bytesShown, secondsShown } from "./age.js";

const bars = new Map();
const words = document.documentElement.dataset; // translated

export function start(bar) { bars.set(bar.dataset.progress, bar); }

function sentence({ done_bytes: done, total_bytes: total, bytes_per_second: rate, eta_seconds: eta }) {
  const parts = [total ? words.of.replace("{done}", bytesShown(done)).replace("{total}", bytesShown(total)) : bytesShown(done)];
  if (rate) parts.push(`${bytesShown(rate)}/s`);
  if (eta !== null && eta !== undefined) parts.push(words.left.replace("{time}", secondsShown(eta)));
  return parts.join(" · ");
}

document.body.addEventListener("live:progress", ({ detail }) => {
  const bar = bars.get(detail.key);
  if (!bar?.isConnected) return;
  if (detail.total_bytes) { bar.max = detail.total_bytes; bar.value = Math.min(detail.done_bytes, detail.total_bytes); }
  else bar.removeAttribute("value");
  const text = bar.parentElement.querySelector("[data-progress-text]");
  if (text) text.textContent = sentence(detail);
});
