// Dark or light: as the system has it, until somebody chooses. Printing is always light.

const KEY = "leakprof-theme";
const listeners = [];
let chosen = null;

function stored() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // a page in a file may not store anything
  }
}

function apply(theme) {
  if (document.documentElement.dataset.theme === theme) return;
  document.documentElement.dataset.theme = theme;
  for (const listener of listeners) listener();
}

export function isDark() {
  return document.documentElement.dataset.theme === "dark";
}

// Calls `listener` whenever colours change.
export function onTheme(listener) {
  listeners.push(listener);
}

export function toggleTheme() {
  chosen = isDark() ? "light" : "dark";
  try {
    localStorage.setItem(KEY, chosen);
  } catch {
    // then it holds until the page is closed
  }
  apply(chosen);
}

export function startTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const print = matchMedia("print");
  chosen = ["dark", "light"].includes(stored()) ? stored() : null;
  const renew = () => apply(print.matches ? "light" : (chosen ?? (dark.matches ? "dark" : "light")));
  dark.addEventListener("change", renew);
  print.addEventListener("change", renew);
  addEventListener("beforeprint", () => apply("light"));
  addEventListener("afterprint", renew);
  renew();
}
