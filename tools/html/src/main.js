// leakprof --html: from the data in the page to what is seen.
import "./style.css";
import { CLASSES, decode, metricsOf } from "./data.js";
import { liveCurve, memoryCurve, redrawAll } from "./curves.js";
import { byId, element } from "./dom.js";
import { Flame } from "./flame.js";
import { bytes, duration, perHour, time } from "./format.js";
import { Suspects, verdictClass } from "./suspects.js";
import { onTheme, startTheme, toggleTheme } from "./theme.js";

startTheme();
const data = decode(JSON.parse(byId("data").textContent));
const flame = new Flame(data);
const suspects = new Suspects(showInFlame);
let process = data.processes[0];
let metric = null;
let snapshot = null;
let compared = "none";

function header() {
  const { dumps, rates } = process;
  const first = dumps.time[0];
  const last = dumps.time.at(-1);
  const live = dumps.live.at(-1);
  document.title = `${process.name}: ${process.verdictText}`;
  byId("name").textContent = process.name;
  const span = dumps.time.length === 1 ? `one dump, of ${time(last)} UTC` : `${dumps.time.length} dumps over ${duration(last - first)} to ${time(last)} UTC`;
  byId("span").textContent = [span, process.host && `host ${process.host}`, `malloc live ${bytes(live)} ±${bytes(dumps.sigma.at(-1))}`].filter(Boolean).join(" · ");
  const verdict = byId("verdict");
  verdict.className = verdictClass(process.verdict);
  verdict.replaceChildren(element("strong", null, process.verdictText));
  if (rates?.secondsToLimit !== undefined && rates?.secondsToLimit !== null) {
    verdict.append(element("span", null, `At this rate the limit of ${bytes(rates.limit)} is reached in ${duration(rates.secondsToLimit)}.`));
  }
  byId("rates").replaceChildren(...rateChips());
  byId("warnings").hidden = data.warnings.length === 0;
  byId("warnings-count").textContent = data.warnings.length === 1 ? "one warning" : `${data.warnings.length} warnings`;
  byId("warnings-list").replaceChildren(...data.warnings.map((warning) => element("li", null, warning)));
}

// "RSS +412M/h = malloc live +310M, ...", or what each holds where no rate is known.
function rateChips() {
  const { rates, growth, dumps } = process;
  const chip = (text, value, variable, grows) =>
    element(`span.chip${grows ? ".grows" : ""}`, null, variable ? element("i", { style: `background: var(${variable})` }) : null, text, " ", element("b", null, value));
  if (rates) {
    return [
      chip("RSS", `${perHour(rates.rss)}/h`, null),
      element("span.equals", null, "="),
      ...CLASSES.map((name, i) => chip(name, perHour(rates.classes[i]), `--class-${i}`, rates.classes[i] > 0 && rates.classes[i] >= 0.1 * Math.abs(rates.rss))),
    ];
  }
  const now = dumps.levels.map((level) => level.at(-1));
  const rss = dumps.rss.at(-1);
  const chips = growth ? [chip("malloc live", `${perHour(growth[0])}/h (${perHour(growth[1])} .. ${perHour(growth[2])})`, "--class-0")] : [];
  if (rss === null || rss === undefined) return chips;
  return [...chips, chip("RSS", bytes(rss), null), element("span.equals", null, "="), ...CLASSES.flatMap((name, i) => (now[i] > 0 ? [chip(name, bytes(now[i]), `--class-${i}`)] : []))];
}

function curves() {
  const several = process.dumps.time.length > 1;
  byId("time-section").hidden = !several;
  for (const id of ["memory-curve", "live-curve"]) byId(id).replaceChildren();
  if (!several) return;
  const known = process.dumps.rss.some((rss) => rss !== null);
  byId("memory-figure").hidden = !known;
  if (known) memoryCurve(byId("memory-curve"), process, chooseDump);
  liveCurve(byId("live-curve"), process, chooseDump);
}

// The snapshot next to `dump`.
function chooseDump(dump) {
  const near = process.snapshots.reduce((best, other) => (Math.abs(other.dump - dump) < Math.abs(best.dump - dump) ? other : best));
  byId("dump").value = process.snapshots.indexOf(near);
  snapshot = near;
  drawFlame();
}

function baseSnapshot() {
  if (compared === "file") return data.base.snapshot;
  if (compared === "none") return null;
  return process.snapshots[Number(compared)] ?? null;
}

function flameControls() {
  const times = process.dumps.time;
  const name = ({ dump }) => `dump ${dump + 1}: ${time(times[dump])}${process.dumps.reason[dump] ? `, ${process.dumps.reason[dump]}` : ""}`;
  const slider = byId("dump");
  slider.max = process.snapshots.length - 1;
  slider.value = slider.max;
  byId("dump-control").hidden = process.snapshots.length < 2;
  snapshot = process.snapshots.at(-1);
  const select = byId("base");
  select.replaceChildren(
    element("option", { value: "none" }, "nothing"),
    ...(data.base ? [element("option", { value: "file" }, data.base.name)] : []),
    ...(process.snapshots.length > 1 ? process.snapshots.map((other, i) => element("option", { value: String(i) }, i === 0 ? `the first, ${name(other)}` : name(other))) : []),
  );
  compared = data.base ? "file" : "none";
  select.value = compared;
  byId("base-control").hidden = select.options.length < 2;
  metricControls();
}

function metricControls() {
  // Growth is offered where there is something to compare with; choosing it compares with the first dump.
  const metrics = metricsOf(process, byId("base").options.length > 1);
  metric = metrics.find(({ id }) => id === metric?.id) ?? metrics[0];
  byId("metrics").replaceChildren(
    ...metrics.map((choice) =>
      element("label", null, element("input", { type: "radio", name: "metric", value: choice.id, checked: choice === metric, onchange: () => chooseMetric(choice) }), element("span", null, choice.name)),
    ),
  );
}

function chooseMetric(choice) {
  metric = choice;
  if (metric.compares && compared === "none") {
    compared = data.base ? "file" : "0";
    byId("base").value = compared;
  }
  byId("metrics").querySelector(`[value="${choice.id}"]`).checked = true;
  drawFlame();
}

function drawFlame() {
  if (compared === "none" && metric.compares) {
    metric = metricsOf(process, false)[0];
    byId("metrics").querySelector(`[value="${metric.id}"]`).checked = true;
  }
  flame.show(snapshot, metric, baseSnapshot());
  const at = process.dumps.time[snapshot.dump];
  byId("dump-name").textContent = `${snapshot.dump + 1} of ${process.dumps.time.length}, ${time(at)}`;
  byId("flame-legend").replaceChildren(...flame.legend());
}

// The path of a suspect is leaf first, and what calls it may differ: the widest way that ends in it is shown.
function showInFlame(suspect) {
  snapshot = process.snapshots.at(-1);
  byId("dump").value = byId("dump").max;
  drawFlame();
  const wanted = suspect.path.map((frame) => frame.name).reverse();
  let best = null;
  const visit = (item, names) => {
    for (const child of item.children) {
      if (best && child.value <= best.value) continue;
      names.push(child.name);
      const from = names.length - wanted.length;
      if (from >= 0 && wanted.every((name, i) => names[from + i] === name)) best = { value: child.value, names: names.slice(0, from + 1) };
      else visit(child, names);
      names.pop();
    }
  };
  visit(flame.made.root, []);
  if (best) flame.zoomTo(best.names);
  byId("flame-section").scrollIntoView();
  byId("flame").focus({ preventScroll: true });
}

function show(next) {
  process = next;
  header();
  curves();
  suspects.show(process);
  flameControls();
  drawFlame();
}

function setLayout(inverted) {
  byId(inverted ? "icicle" : "upright").checked = true;
  flame.setInverted(inverted);
}

const KEYS = {
  "/": () => byId("search").focus(),
  j: () => suspects.step(1),
  k: () => suspects.step(-1),
  f: () => {
    byId("flame-section").scrollIntoView();
    byId("flame").focus({ preventScroll: true });
  },
  m: () => {
    const metrics = metricsOf(process, byId("base").options.length > 1);
    chooseMetric(metrics[(metrics.indexOf(metric) + 1) % metrics.length]);
  },
  i: () => setLayout(!flame.inverted),
  t: toggleTheme,
  p: () => {
    if (data.processes.length < 2) return;
    byId("process").selectedIndex = (byId("process").selectedIndex + 1) % data.processes.length;
    show(data.processes[byId("process").selectedIndex]);
  },
  "?": () => byId("help").showModal(),
};

function bind() {
  const chooser = byId("process");
  chooser.replaceChildren(...data.processes.map((one, i) => element("option", { value: String(i) }, `${one.name} — ${one.verdictText}`)));
  byId("process-control").hidden = data.processes.length < 2;
  chooser.addEventListener("change", () => show(data.processes[chooser.selectedIndex]));
  byId("theme").addEventListener("click", toggleTheme);
  byId("keys").addEventListener("click", KEYS["?"]);
  byId("reset").addEventListener("click", () => flame.reset());
  let typing = 0;
  byId("search").addEventListener("input", (event) => {
    clearTimeout(typing);
    typing = setTimeout(() => flame.search(event.target.value), 120);
  });
  byId("dump").addEventListener("input", (event) => {
    snapshot = process.snapshots[Number(event.target.value)];
    drawFlame();
  });
  byId("base").addEventListener("change", (event) => {
    compared = event.target.value;
    drawFlame();
  });
  for (const id of ["icicle", "upright"]) byId(id).addEventListener("change", () => setLayout(byId("icicle").checked));
  onTheme(() => {
    redrawAll();
    flame.draw();
  });
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
    if (event.key === "Escape") {
      if (event.target === byId("search")) {
        byId("search").value = "";
        clearTimeout(typing);
        flame.search("");
        byId("flame").focus();
      } else {
        flame.reset();
      }
      return;
    }
    if (event.target.closest?.("input, select, textarea") && event.target.type !== "radio") return;
    if (!KEYS[event.key]) return;
    event.preventDefault();
    KEYS[event.key]();
  });
}

byId("version").textContent = data.version;
bind();
show(process);
document.documentElement.dataset.ready = "yes";
