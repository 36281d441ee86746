// Curves over time, drawn by uPlot.
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { CLASSES } from "./data.js";
import { styleValue } from "./dom.js";
import { bytes, time, timeMarks } from "./format.js";

const POWERS = Array.from({ length: 60 }, (_, i) => 2 ** i);
const live = new Set();
const watcher = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const chart = target.chart;
    if (chart && target.clientWidth > 0 && target.clientWidth !== chart.width) {
      chart.setSize({ width: target.clientWidth, height: chart.height });
    }
  }
});

// Draws all curves again, in the colours of now.
export function redrawAll() {
  for (const draw of live) draw();
}

// Draws into `place` what `options(colour)` and `data` say, and again when colours change.
function plot(place, options, data, after) {
  const draw = () => {
    if (!place.isConnected) {
      live.delete(draw);
      return;
    }
    place.chart?.destroy();
    place.chart = new uPlot({ width: place.clientWidth || 300, ...options(styleValue) }, data, place);
    after?.(place.chart);
  };
  live.add(draw);
  draw();
  watcher.observe(place);
  return place;
}

const font = (colour) => ({ font: "12px system-ui, sans-serif", stroke: colour("--muted"), ticks: { show: false } });

function timeAxis(colour) {
  return {
    ...font(colour),
    grid: { show: false },
    values: (_, splits, __, ___, step) => timeMarks(splits, step),
    size: 42,
    space: 80,
  };
}

function byteAxis(colour, more) {
  return {
    ...font(colour),
    grid: { stroke: colour("--grid"), width: 1 },
    incrs: POWERS,
    size: 56,
    values: (_, splits) => splits.map((split) => bytes(split)),
    ...more,
  };
}

const axes = (colour) => [timeAxis(colour), byteAxis(colour)];
const x = { label: "UTC", value: (_, at) => (at === null ? "–" : time(at)) };
const scales = { x: { time: true }, y: { range: (_, low, high) => [Math.min(0, low ?? 0), (high || 1) * 1.05] } };
const common = { tzDate: (seconds) => new Date(seconds * 1000), scales, padding: [8, 8, 0, 0] };

// Lines where something other than time asked for a dump, and small marks for all.
function dumpMarks(marks, colour) {
  return {
    hooks: {
      draw: (chart) => {
        const { ctx, bbox } = chart;
        const ratio = devicePixelRatio;
        ctx.save();
        ctx.lineWidth = ratio;
        ctx.font = `${11 * ratio}px system-ui, sans-serif`;
        ctx.textAlign = "right";
        let free = -Infinity;
        for (const { time: at, reason } of marks) {
          const left = Math.round(chart.valToPos(at, "x", true));
          if (left < bbox.left - 1 || left > bbox.left + bbox.width + 1) continue;
          const usual = reason === "time" || reason === "interval" || reason === "";
          ctx.strokeStyle = ctx.fillStyle = usual ? colour("--muted") : colour("--mark");
          ctx.beginPath();
          ctx.setLineDash(usual ? [] : [3 * ratio, 3 * ratio]);
          const bottom = bbox.top + bbox.height;
          ctx.moveTo(left, usual ? bottom + 1 : bbox.top);
          ctx.lineTo(left, usual ? bottom + 5 * ratio : bottom);
          ctx.stroke();
          if (!usual && left - free > 60 * ratio) {
            ctx.fillText(reason, left - 3 * ratio, bbox.top + 11 * ratio);
            free = left;
          }
        }
        ctx.restore();
      },
    },
  };
}

function marksOf(process) {
  const marks = process.dumps.time.map((at, i) => ({ time: at, reason: process.dumps.reason[i] }));
  return marks.concat(process.leftOut).filter(({ time: at }) => at !== null);
}

// The last time that is shown: the dump at exit is not in the curves, and yet marked.
function span(process) {
  const times = marksOf(process).map(({ time: at }) => at);
  return [Math.min(...times), Math.max(...times)];
}

// What RSS is made of. `choose(dump)` is called for a click.
export function memoryCurve(place, process, choose) {
  const shown = CLASSES.map((_, i) => i).filter((i) => process.dumps.levels[i].some((level) => level > 0));
  const stacked = [];
  for (const i of shown) {
    const below = stacked.at(-1);
    stacked.push(process.dumps.levels[i].map((level, dump) => (level === null ? null : level + (below?.[dump] ?? 0))));
  }
  const rss = process.dumps.rss.map((value, i) => (value === null ? null : value + (process.dumps.swap[i] ?? 0)));
  const options = (colour) => ({
    ...common,
    height: 300,
    scales: { ...scales, x: { time: true, range: (_, low, high) => zoomed(process, low, high) } },
    axes: axes(colour),
    cursor: { sync: { key: "time" }, points: { show: false } },
    legend: { markers: { width: 0, fill: (_, i) => (i === 0 || i > shown.length ? colour("--text") : colour(`--class-${shown[i - 1]}`)) } },
    series: [
      x,
      ...shown.map((i) => ({
        label: CLASSES[i],
        stroke: colour(`--class-${i}`),
        fill: colour(`--class-${i}`),
        width: 0,
        points: { show: false },
        value: (_, __, ___, dump) => (dump === null ? "–" : bytes(process.dumps.levels[i][dump])),
      })),
      { label: "RSS", stroke: colour("--text"), width: 1.5, points: { show: false }, value: (_, value) => bytes(value) },
    ],
    bands: shown.slice(1).map((_, at) => ({ series: [at + 2, at + 1] })),
    plugins: [dumpMarks(marksOf(process), colour)],
  });
  return plot(place, options, [process.dumps.time, ...stacked, rss], (chart) => onPick(chart, choose));
}

// All of the time, with the marks beyond the last curve point, unless somebody looks closer.
function zoomed(process, low, high) {
  const [first, last] = span(process);
  const times = process.dumps.time;
  return low === times[0] && high === times.at(-1) ? [first, last] : [low, high];
}

function onPick(chart, choose) {
  let down = 0;
  chart.over.addEventListener("mousedown", (event) => (down = event.clientX));
  chart.over.addEventListener("click", (event) => {
    if (Math.abs(event.clientX - down) < 3 && chart.cursor.idx !== null) choose?.(chart.cursor.idx);
  });
}

const translucent = (hex, alpha) => hex + Math.round(alpha * 255).toString(16).padStart(2, "0");

// Live bytes with their error, and what was allocated since start on an axis of its own.
export function liveCurve(place, process, choose) {
  const { live: value, sigma, allocated } = process.dumps;
  const told = allocated.some((amount) => amount !== null);
  const band = (sign) => value.map((amount, i) => Math.max(0, amount + sign * 2 * sigma[i]));
  const options = (colour) => ({
    ...common,
    height: 210,
    scales: { ...scales, x: { time: true, range: (_, low, high) => zoomed(process, low, high) }, total: scales.y },
    axes: [
      ...axes(colour),
      ...(told ? [byteAxis(colour, { scale: "total", side: 1, grid: { show: false }, stroke: colour("--allocated") })] : []),
    ],
    cursor: { sync: { key: "time" }, points: { size: 7 } },
    series: [
      x,
      { label: "live", stroke: colour("--class-0"), width: 2, points: { show: false }, value: (_, v, __, i) => (i === null ? "–" : `${bytes(v)} ±${bytes(sigma[i])}`) },
      { stroke: "transparent", points: { show: false }, label: "above", class: "hidden-series" },
      { stroke: "transparent", points: { show: false }, label: "below", class: "hidden-series" },
      ...(told
        ? [{ label: "allocated since start", scale: "total", stroke: colour("--allocated"), width: 1.5, dash: [6, 4], points: { show: false }, value: (_, v) => bytes(v) }]
        : []),
    ],
    bands: [{ series: [2, 3], fill: translucent(colour("--class-0"), 0.2) }],
    plugins: [dumpMarks(marksOf(process), colour)],
  });
  const data = [process.dumps.time, value, band(1), band(-1), ...(told ? [allocated] : [])];
  return plot(place, options, data, (chart) => onPick(chart, choose));
}

function suspectData(process, suspect) {
  const times = process.curveDumps.map((dump) => process.dumps.time[dump]);
  const band = (sign) => suspect.curve.map((amount, i) => Math.max(0, amount + sign * 2 * suspect.sigmas[i]));
  return [times, suspect.curve, band(1), band(-1)];
}

function suspectSeries(colour, width) {
  return [
    x,
    { label: "live", stroke: colour("--accent"), width, points: { show: false }, value: (_, v) => bytes(v) },
    { stroke: "transparent", points: { show: false }, label: "above", class: "hidden-series" },
    { stroke: "transparent", points: { show: false }, label: "below", class: "hidden-series" },
  ];
}

// A curve without axes, the size of a word.
export function spark(place, process, suspect) {
  const options = (colour) => ({
    ...common,
    height: 34,
    padding: [2, 2, 2, 2],
    cursor: { show: false },
    legend: { show: false },
    axes: [{ show: false }, { show: false }],
    series: suspectSeries(colour, 1.5),
    bands: [{ series: [2, 3], fill: translucent(colour("--accent"), 0.22) }],
  });
  return plot(place, options, suspectData(process, suspect));
}

// The curve of a suspect, with the line that its rate is.
export function suspectCurve(place, process, suspect) {
  const data = suspectData(process, suspect);
  const fitted = fit(data[0], suspect.curve, process.dumps.time[suspect.first], suspect.growth);
  const options = (colour) => ({
    ...common,
    height: 220,
    axes: axes(colour),
    series: [
      ...suspectSeries(colour, 2),
      ...(fitted ? [{ label: "rate", stroke: colour("--mark"), width: 1.5, dash: [6, 4], points: { show: false }, value: () => `${bytes(suspect.growth[0] * 3600)}/h` }] : []),
    ],
    bands: [{ series: [2, 3], fill: translucent(colour("--accent"), 0.2) }],
  });
  return plot(place, options, fitted ? [...data, fitted] : data);
}

// The line of slope `growth[0]` through the middle of the points from `start` on.
export function fit(times, values, start, growth) {
  if (!growth) return null;
  const inside = times.map((at) => at >= start);
  const mean = (list) => list.reduce((sum, value) => sum + value, 0) / list.length;
  const middle = mean(times.filter((_, i) => inside[i]));
  const level = mean(values.filter((_, i) => inside[i]));
  return times.map((at, i) => (inside[i] ? level + growth[0] * (at - middle) : null));
}

// Bars with names below them.
export function bars(place, names, values, text) {
  const options = (colour) => ({
    ...common,
    height: 150,
    scales: { x: { time: false, range: () => [-0.6, names.length - 0.4] }, y: scales.y },
    cursor: { points: { show: false }, drag: { x: false } },
    legend: { live: true },
    axes: [
      { ...font(colour), grid: { show: false }, splits: () => names.map((_, i) => i), values: () => names, space: 10, size: 30, font: "11px system-ui, sans-serif" },
      { ...font(colour), grid: { stroke: colour("--grid"), width: 1 }, size: 50, values: (_, splits) => splits.map(text) },
    ],
    series: [
      { value: (_, i) => (i === null ? "–" : names[i]), label: "" },
      { label: "live", stroke: colour("--accent"), fill: translucent(colour("--accent"), 0.6), paths: uPlot.paths.bars({ size: [0.7, 60] }), points: { show: false }, value: (_, v) => (v === null ? "–" : text(v)) },
    ],
  });
  return plot(place, options, [names.map((_, i) => i), values]);
}
