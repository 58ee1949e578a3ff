// Small manners of pages: a form is sent once, rows are added, lines are copied, menus close, messages go away.

const AGAIN_SECONDS = 15;

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post" || form.hasAttribute("data-again") || event.defaultPrevented) return;
  if (form.dataset.sent) { event.preventDefault(); return; }
  form.dataset.sent = "yes";
  event.submitter?.setAttribute("aria-busy", "true");
  setTimeout(() => again(form), AGAIN_SECONDS * 1000); // no answer came, the page still stands: a person may try once more
});

function again(form) {
  delete form.dataset.sent;
  for (const button of form.querySelectorAll("[aria-busy=true]")) button.removeAttribute("aria-busy");
}

// a page that comes back from the browser's cache may be sent again
addEventListener("pageshow", () => document.querySelectorAll("form[data-sent]").forEach(again));

/** <button data-add-row="hosts"> clones <template id="hosts-row"> into #hosts-rows and counts the formset's TOTAL_FORMS up. */
function addRow(prefix) {
  const rows = document.getElementById(`${prefix}-rows`);
  const total = document.getElementById(`id_${prefix}-TOTAL_FORMS`);
  const template = document.getElementById(`${prefix}-row`);
  if (!rows || !total || !template) return;
  const holder = document.createElement("template");
  holder.innerHTML = template.innerHTML.replaceAll("__prefix__", total.value).replaceAll("__number__", String(Number(total.value) + 1));
  total.value = String(Number(total.value) + 1);
  const added = holder.content.firstElementChild;
  rows.append(holder.content);
  added?.querySelector("input:not([type=hidden]), select")?.focus();
}

async function copy(button) {
  const source = button.dataset.copy ? document.getElementById(button.dataset.copy) : button.parentElement.querySelector("code, pre, input, textarea");
  const text = source?.value ?? source?.textContent ?? "";
  const said = button.textContent;
  let done = false;
  try { await navigator.clipboard.writeText(text); done = true; } catch { done = copyBySelection(source); }
  button.textContent = done ? button.dataset.done || "✓" : said;
  setTimeout(() => { button.textContent = said; }, 1500);
}

/** navigator.clipboard exists only over TLS or on localhost. */
function copyBySelection(source) {
  if (!source) return false;
  if (source.select) source.select();
  else getSelection().selectAllChildren(source);
  return document.execCommand("copy");
}

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-add-row], [data-copy], [data-dismiss], [data-print]");
  for (const menu of document.querySelectorAll("details[data-menu][open]")) if (!menu.contains(event.target)) menu.open = false;
  if (!button) return;
  if ("addRow" in button.dataset) addRow(button.dataset.addRow);
  else if ("dismiss" in button.dataset) button.closest("[data-message]")?.remove();
  else if ("print" in button.dataset) print();
  else copy(button);
});

// a part that comes anew every few seconds is not changed under somebody's finger: it comes again
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  if (detail.target.matches?.("[data-calm]") && detail.target.querySelector("button:active, a:active, summary:active")) detail.shouldSwap = false;
});

// what a person opened stays open when htmx brings the part anew
let opened = [];
document.addEventListener("htmx:beforeSwap", ({ detail }) => { opened = [...detail.target.querySelectorAll("details[open][id]")].map((one) => one.id); });
document.addEventListener("htmx:afterSwap", () => {
  for (const id of opened) { const again = document.getElementById(id); if (again) again.open = true; }
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const menu = event.target.closest?.("details[data-menu][open]") ?? document.querySelector("details[data-menu][open]");
  if (!menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});
