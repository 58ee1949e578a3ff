// Runs before the first paint: the person's choice (light, dark) if there is one, else the system's, by CSS alone.
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const read = () => { try { return localStorage.getItem("pgpanel-theme") || "auto"; } catch { return "auto"; } };
  const apply = (choice) => {
    if (choice === "light" || choice === "dark") root.dataset.bsTheme = choice;
    else delete root.dataset.bsTheme;
    for (const button of document.querySelectorAll("[data-theme-choice]"))
      button.setAttribute("aria-pressed", String(button.dataset.themeChoice === choice));
  };
  apply(read());
  document.addEventListener("DOMContentLoaded", () => apply(read()));
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-theme-choice]");
    if (!button) return;
    try { localStorage.setItem("pgpanel-theme", button.dataset.themeChoice); } catch { /* private window: for this page only */ }
    apply(button.dataset.themeChoice);
    document.dispatchEvent(new CustomEvent("theme"));
  });
  addEventListener("storage", (event) => { if (event.key === "pgpanel-theme") { apply(read()); document.dispatchEvent(new CustomEvent("theme")); } });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new CustomEvent("theme")));
})();
