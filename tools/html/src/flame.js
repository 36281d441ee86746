// The flame graph, drawn by d3-flame-graph.
import flamegraph from "d3-flame-graph";
import { select } from "d3-selection";
import { byId, element, styleValue } from "./dom.js";
import { METRICS } from "./data.js";
import { bytes, count, percent, signedBytes } from "./format.js";
import { place } from "./table.js";
import { change, makeTree, matcher } from "./tree.js";

const KINDS = [
  ["java", "Java"],
  ["java-library", "Java library"],
  ["native", "native"],
  ["native-library", "native library"],
  ["vm", "VM"],
  ["kernel", "kernel"],
  ["unknown", "unknown"],
];

// With more, frames that nobody could hit are left out.
const MANY_FRAMES = 3000;

// Between two colours "#rrggbb".
function mix(from, to, share) {
  const part = (hex, at) => parseInt(hex.slice(at, at + 2), 16);
  const channel = (at) => Math.round(part(from, at) + (part(to, at) - part(from, at)) * share);
  return `rgb(${channel(1)}, ${channel(3)}, ${channel(5)})`;
}

export class Flame {
  constructor(data) {
    this.data = data;
    this.box = byId("flame");
    this.tip = byId("flame-tip");
    this.inverted = true;
    this.term = "";
    this.metric = METRICS[0];
    new ResizeObserver(() => {
      if (this.chart && this.box.clientWidth > 0 && this.box.clientWidth !== this.chart.width()) this.draw();
    }).observe(this.box);
    this.box.addEventListener("keydown", (event) => this.key(event));
    this.box.addEventListener("mouseleave", () => this.hideTip());
  }

  // `base` may be null.
  show(snapshot, metric, base) {
    this.snapshot = snapshot;
    this.metric = metric;
    this.base = base;
    this.made = makeTree(this.data, snapshot, metric.id, base);
    this.way = [];
    this.draw();
  }

  text(value) {
    return this.metric.unit === "bytes" ? bytes(value) : count(value);
  }

  // Draws anew; where it is zoomed into by names, so that it stays there when data or layout changes.
  draw() {
    if (!this.made) return;
    const { root } = this.made;
    this.box.replaceChildren();
    this.box.classList.toggle("upright", !this.inverted);
    this.focused = null;
    if (!(root.value > 0)) {
      this.chart = null;
      this.box.append(element("p.empty", null, "Nothing to show by this metric in this dump."));
      this.tell();
      return;
    }
    this.colours = Object.fromEntries([...KINDS.map(([kind]) => kind), "all"].map((kind) => [kind, styleValue(`--code-${kind}`)]));
    this.diff = { more: styleValue("--more"), less: styleValue("--less"), same: styleValue("--same"), found: styleValue("--found") };
    this.chart = flamegraph()
      .width(this.box.clientWidth)
      .cellHeight(20)
      .minFrameSize(this.made.size > MANY_FRAMES ? 2 : 0.7)
      .transitionDuration(0)
      .inverted(this.inverted)
      .resetHeightOnZoom(true)
      .tooltip(this.tooltip())
      .setDetailsHandler(() => {})
      .setSearchMatch((frame) => this.match !== undefined && this.match(frame.data.name))
      .setSearchHandler((found, sum, total) => (this.found = this.term ? { number: found.length, sum, total } : null))
      .setColorMapper((frame) => this.colour(frame))
      .onClick((frame) => {
        this.way = namesTo(frame);
        this.tell();
      });
    select(this.box).datum(root).call(this.chart);
    if (this.way.length) {
      const frame = this.find(this.way);
      if (frame) this.chart.zoomTo(frame);
    }
    this.settle();
    if (this.term) this.search(this.term);
    else this.tell();
  }

  // The chart lets new frames grow and names them a moment later, whatever duration it was given. Who prints the page
  // draws it anew, and takes it as it is at once.
  settle() {
    for (const frame of this.box.querySelectorAll("g.frame")) {
      frame.querySelector("rect").setAttribute("width", frame.getAttribute("width"));
      frame.querySelector(".d3-flame-graph-label").textContent = frame.getAttribute("name");
    }
  }

  colour(frame) {
    if (frame.highlight) return this.diff.found;
    const { code, before, now } = frame.data;
    if (before === undefined || code === "all") return this.colours[code];
    const by = change(now, before);
    return mix(this.diff.same, by > 0 ? this.diff.more : this.diff.less, Math.min(1, 0.15 + Math.abs(by)) * (Math.abs(by) > 0.005));
  }

  // The frame at the end of `names`, outermost first.
  find(names) {
    let frame = select(this.box).datum();
    for (const name of names) {
      frame = frame.children?.find((child) => child.data.name === name);
      if (!frame) return null;
    }
    return frame;
  }

  zoomTo(names) {
    const frame = this.chart && this.find(names);
    if (!frame) return false;
    this.chart.zoomTo(frame);
    return true;
  }

  reset() {
    this.way = [];
    this.chart?.resetZoom();
    this.tell();
  }

  search(term) {
    this.term = term;
    this.match = term ? matcher(term) : undefined;
    this.found = null;
    if (this.chart) {
      if (term) this.chart.search(term);
      else this.chart.clear();
    }
    this.tell();
  }

  setInverted(inverted) {
    this.inverted = inverted;
    this.draw();
  }

  describe({ data }, root) {
    const lines = [data.name];
    const where = data.function && place(data.function);
    if (where) lines.push(`${where}${data.function.how ? `, ${data.function.how}` : ""}`);
    lines.push(`${this.text(data.value)} ${this.metric.name}, ${percent(data.value / root.value)} of all`);
    if (data.before !== undefined) {
      const by = data.now - data.before;
      const text = this.metric.unit === "bytes" ? signedBytes(by) : `${by < 0 ? "" : "+"}${count(by)}`;
      lines.push(`${text} since the base, which has ${this.text(data.before)}`);
    }
    return lines;
  }

  tooltip() {
    const tip = () => {};
    tip.show = (event, frame) => {
      const [name, ...rest] = this.describe(frame, this.made.root);
      this.tip.replaceChildren(element("strong", null, name), ...rest.map((line) => element("div", null, line)));
      this.tip.hidden = false;
      const { offsetWidth: width, offsetHeight: height } = this.tip;
      const left = Math.max(8, Math.min(event.clientX + 14, innerWidth - width - 8));
      const top = event.clientY + 18 + height > innerHeight ? event.clientY - height - 12 : event.clientY + 18;
      this.tip.style.left = `${left}px`;
      this.tip.style.top = `${Math.max(8, top)}px`;
    };
    tip.hide = () => this.hideTip();
    tip.destroy = () => this.hideTip();
    return tip;
  }

  hideTip() {
    this.tip.hidden = true;
  }

  // The line below the graph.
  tell() {
    const parts = [];
    if (this.focused) parts.push(this.describe(this.focused, this.made.root).join(" · "));
    else if (this.way.length) parts.push(`zoomed into ${this.way.at(-1)}`);
    if (this.found) {
      parts.push(`“${this.term}”: ${this.found.number} frames with ${this.text(this.found.sum)}, ${percent(this.found.sum / this.found.total)}`);
    }
    if (this.made?.shrunk > 0) parts.push(`${bytes(this.made.shrunk)} that went away are not drawn`);
    byId("flame-status").textContent = parts.join(" — ") || "Click a frame to zoom in; / searches; arrow keys walk.";
  }

  // Arrow keys walk from frame to frame, Enter zooms in.
  key(event) {
    if (!this.chart || event.altKey || event.ctrlKey || event.metaKey) return;
    const frame = this.focused ?? this.find(this.way) ?? select(this.box).datum();
    const inwards = this.inverted ? "ArrowDown" : "ArrowUp";
    const outwards = this.inverted ? "ArrowUp" : "ArrowDown";
    const beside = (step) => {
      const all = frame.parent?.children.filter((child) => child.value > 0).sort((a, b) => a.x0 - b.x0) ?? [];
      return all[all.indexOf(frame) + step];
    };
    let next;
    if (event.key === inwards) next = frame.children?.find((child) => child.value > 0);
    else if (event.key === outwards) next = frame.parent;
    else if (event.key === "ArrowLeft") next = beside(-1);
    else if (event.key === "ArrowRight") next = beside(1);
    else if (event.key === "Enter" || event.key === " ") this.chart.zoomTo(frame);
    else return;
    event.preventDefault();
    this.focus(next ?? frame);
  }

  focus(frame) {
    this.focused = frame;
    select(this.box)
      .selectAll("g.frame")
      .classed("focused", (other) => other === frame);
    this.tell();
  }

  legend() {
    const item = (variable, text) => element("span.key", null, element("i", { style: `background: var(${variable})` }), text);
    if (this.base) return [item("--more", "more than in the base"), item("--same", "as much"), item("--less", "less")];
    const used = new Set(this.data.functions.map((code) => code.code));
    return KINDS.filter(([kind]) => used.has(kind)).map(([kind, name]) => item(`--code-${kind}`, name));
  }
}

// The names of the frames on the way to `frame`, outermost first, without the root.
function namesTo(frame) {
  const names = [];
  for (let at = frame; at.parent; at = at.parent) names.unshift(at.data.name);
  return names;
}
