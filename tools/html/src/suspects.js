// The table of suspects and what is behind each.
import { AGES } from "./data.js";
import { byId, element } from "./dom.js";
import { bars, spark, suspectCurve } from "./curves.js";
import { bytes, count, duration, percent, perHour } from "./format.js";
import { culprit, DESCENDING, place, sorted, worthShowing } from "./table.js";

const COLUMNS = [
  ["rank", "#", "the worst first, as leakprof ranks them"],
  ["verdict", "verdict", "what its curve says"],
  ["growth", "growth/h", "with its 95 % interval"],
  ["live", "live", "bytes alive in the last dump ± the sampling error"],
  ["objects", "blocks", "alive in the last dump"],
  ["mean", "mean", "bytes of a block"],
  ["ages", "ages", "of the middle half of the blocks"],
  ["share", "share", "of the growth of the process"],
];

function frameLine(frame, strong) {
  const where = place(frame);
  return [
    element(strong ? "b.name" : "span.name", { title: frame.name }, element(`i.code.code-${frame.code}`, { title: frame.how }), frame.name),
    where ? element("span.where", { title: frame.file || frame.mapping }, ` ${where}`) : null,
  ];
}

const STATED = { growing: "growing", "waits for GC": "waits", "cache-like": "calm", shrinking: "calm", stable: "calm", "too few dumps": "unsure" };

export const verdictClass = (verdict) => `verdict-${STATED[verdict] ?? "unsure"}`;

export class Suspects {
  // `showInFlame(names)`: the way to a function, outermost first.
  constructor(showInFlame) {
    this.showInFlame = showInFlame;
    this.key = "rank";
    this.descending = false;
    this.all = false;
    this.head = element(
      "tr.heads",
      null,
      COLUMNS.map(([key, name, title]) =>
        element(`th.col-${key}`, { scope: "col", "data-key": key, title }, element("button", { type: "button", onclick: () => this.sort(key) }, name)),
      ),
      element("th.col-curve", { scope: "col" }, "curve"),
    );
    byId("suspects").tHead.replaceChildren(this.head);
    byId("more-suspects").addEventListener("click", () => {
      this.all = !this.all;
      this.fill();
    });
    byId("suspects").addEventListener("keydown", (event) => this.onKey(event));
  }

  show(process) {
    this.process = process;
    this.open = new Set();
    this.all = false;
    this.fill();
  }

  sort(key) {
    this.descending = this.key === key ? !this.descending : DESCENDING.has(key);
    this.key = key;
    this.fill();
  }

  fill() {
    const { suspects, moreSuspects } = this.process;
    for (const head of this.head.querySelectorAll("[data-key]")) {
      head.setAttribute("aria-sort", head.dataset.key !== this.key ? "none" : this.descending ? "descending" : "ascending");
    }
    const few = worthShowing(suspects);
    const shown = sorted(this.all || !few.length ? suspects : few, this.key, this.descending);
    const body = byId("suspects").tBodies[0];
    body.replaceChildren();
    for (const suspect of shown) {
      const row = this.row(suspect);
      body.append(row);
      spark(row.querySelector(".spark"), this.process, suspect);
      if (this.open.has(suspect)) this.unfold(row, suspect);
    }
    const button = byId("more-suspects");
    button.hidden = few.length === suspects.length || !few.length;
    button.textContent = this.all ? `show only the ${few.length} that matter` : `show all ${suspects.length}`;
    byId("suspects-note").textContent = moreSuspects > 0 ? `${moreSuspects} more are not in this page: leakprof --leaks --top=N` : "";
    byId("suspects-section").hidden = suspects.length === 0;
  }

  row(suspect) {
    const at = culprit(suspect.path);
    const { growth } = suspect;
    const cell = (key, label, ...content) => element(`td.col-${key}`, { "data-label": label }, ...content);
    const row = element(
      "tr.suspect",
      { tabindex: "0", "aria-expanded": "false", "data-rank": suspect.rank, onclick: (event) => event.target.closest("button, a") || this.toggle(row, suspect) },
      cell("rank", "#", String(suspect.rank)),
      cell("verdict", "verdict", element(`span.badge.${verdictClass(suspect.verdict)}`, null, suspect.verdict), suspect.noise ? element("small", null, " noise") : null),
      cell("growth", "growth/h", element("b", null, perHour(growth && growth[0])), growth ? element("small", null, `${perHour(growth[1])} .. ${perHour(growth[2])}`) : null),
      cell("live", "live", element("b", null, bytes(suspect.live)), element("small", null, `±${bytes(suspect.sigma)}`)),
      cell("objects", "blocks", count(suspect.objects)),
      cell("mean", "mean", bytes(suspect.mean)),
      cell("ages", "ages", suspect.quartiles[1] === null ? "–" : `${duration(suspect.quartiles[0])} .. ${duration(suspect.quartiles[2])}`),
      cell("share", "share", percent(suspect.share)),
      element("td.col-curve", null, element("div.spark", { "aria-hidden": "true" })),
      element(
        "td.col-stack",
        null,
        element("div.frame-line", null, frameLine(suspect.path[at], true)),
        suspect.path[at + 1] ? element("div.frame-line.caller", null, "by ", frameLine(suspect.path[at + 1])) : null,
        suspect.note ? element("div.note", null, suspect.note) : null,
      ),
    );
    row.suspect = suspect;
    return row;
  }

  toggle(row, suspect) {
    if (this.open.has(suspect)) {
      this.open.delete(suspect);
      row.setAttribute("aria-expanded", "false");
      row.nextElementSibling?.remove();
    } else {
      this.open.add(suspect);
      this.unfold(row, suspect);
    }
  }

  unfold(row, suspect) {
    row.setAttribute("aria-expanded", "true");
    const box = (title, ...content) => element("section.box", null, element("h4", null, title), ...content);
    const curve = element("div.plot");
    const ages = element("div.plot");
    const sizes = element("div.plot");
    const total = suspect.threads.reduce((sum, thread) => sum + thread.bytes, 0);
    const several = this.process.dumps.time.length > 1;
    const details = element(
      "tr.details",
      null,
      element(
        "td",
        { colspan: COLUMNS.length + 1 },
        element(
          "div.boxes",
          null,
          several ? box("Live bytes over time, ± two standard errors", curve) : null,
          box(
            "Stack, the allocation first",
            element("ol.stack", null, suspect.path.map((frame) => element("li", null, frameLine(frame, false)))),
            element("button", { type: "button", onclick: () => this.showInFlame(suspect) }, "show in the flame graph"),
          ),
          suspect.callers.length
            ? box(
                "Called by",
                element(
                  "ul.callers",
                  null,
                  suspect.callers.map((caller) =>
                    element(
                      "li",
                      null,
                      element("div", null, element("b", null, bytes(caller.live)), several ? element("small", null, ` ${perHour(caller.growth)}/h`) : null),
                      element("div.path", null, caller.path.slice(0, 6).map((frame, i) => [i ? " < " : "", frame.name]).flat(), caller.path.length > 6 ? ` < ${caller.path.length - 6} more` : ""),
                    ),
                  ),
                ),
              )
            : null,
          suspect.ages.some((number) => number > 0) ? box("Live samples by age", ages) : null,
          suspect.sizes.length ? box("Live bytes by size of block", sizes) : null,
          suspect.threads.length
            ? box(
                "Threads that allocated it",
                element(
                  "ul.threads",
                  null,
                  suspect.threads.slice(0, 12).map((thread) =>
                    element("li", null, element("span", null, thread.name), element("meter", { min: 0, max: Math.max(1, total), value: thread.bytes, "aria-label": thread.name }), element("b", null, bytes(thread.bytes))),
                  ),
                ),
                suspect.threads.length + suspect.moreThreads > 12 ? element("small", null, `and ${suspect.threads.length + suspect.moreThreads - 12} more`) : null,
              )
            : null,
        ),
      ),
    );
    row.after(details);
    if (curve.isConnected) suspectCurve(curve, this.process, suspect);
    if (ages.isConnected) bars(ages, AGES, suspect.ages, count);
    if (sizes.isConnected) bars(sizes, suspect.sizes.map(([most]) => `≤ ${bytes(most)}`), suspect.sizes.map(([, size]) => size), bytes);
  }

  onKey(event) {
    const row = event.target.closest?.("tr.suspect");
    if (!row || event.target !== row) return;
    if (event.key === "Enter" || event.key === " ") this.toggle(row, row.suspect);
    else if (event.key === "ArrowDown") this.step(1);
    else if (event.key === "ArrowUp") this.step(-1);
    else return;
    event.preventDefault();
  }

  // Focus goes to the next row, or the first one.
  step(by) {
    const rows = [...byId("suspects").querySelectorAll("tr.suspect")];
    const now = rows.indexOf(document.activeElement);
    const next = rows[now < 0 ? 0 : Math.max(0, Math.min(rows.length - 1, now + by))];
    next?.focus();
    next?.scrollIntoView({ block: "nearest" });
  }
}
