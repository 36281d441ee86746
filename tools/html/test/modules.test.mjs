// The parts of the page that need no page.
import assert from "node:assert/strict";
import test from "node:test";
import { decode, metricsOf } from "../src/data.js";
import { bytes, count, duration, percent, perHour, signedBytes, time, timeMarks } from "../src/format.js";
import { culprit, place, sorted, worthShowing } from "../src/table.js";
import { change, makeTree, matcher, totals } from "../src/tree.js";

test("bytes have three digits and powers of 1024, as in --leaks", () => {
  assert.deepEqual([0, 12, 999, 1000, 96 * 1024, 412 * 2 ** 20, 1.3 * 2 ** 30, -2048].map(bytes), ["0", "12", "999", "1K", "96K", "412M", "1.3G", "−2K"]);
  assert.equal(bytes(null), "–");
  assert.equal(signedBytes(0), "+0");
  assert.equal(perHour(1024), "+3.5M");
  assert.equal(perHour(null), "–");
});

test("counts, shares and times are short", () => {
  assert.deepEqual([11185, 1.2e6, null].map(count), ["11185", "1.2M", "–"]);
  assert.deepEqual([0.314, 0.05, 0, -0.0001, null].map(percent), ["31 %", "5.0 %", "0 %", "0 %", "–"]);
  assert.deepEqual([40, 1500, 11400, 3 * 86400].map(duration), ["40 s", "25 min", "3h10", "3.0 d"]);
  assert.equal(time(1760000000), "2025-10-09 08:53:20");
  assert.equal(time(1e300), "–");
  assert.deepEqual(timeMarks([1759967940, 1759968000, 1759968060], 60), ["23:59\n8 Oct", "00:00\n9 Oct", "00:01"]);
});

const functions = ["main", "work", "cache", "malloc"].map((name) => ({ name, code: "native" }));
// main > work > malloc, main > cache
const nodes = { parent: Int32Array.from([-1, 0, 1, 0]), function: Uint32Array.from([0, 1, 3, 2]) };
const snapshot = { node: Uint32Array.from([2, 3]), bytes: [30, 10], objects: [3, 1] };

test("a tree sums what is below, the largest first", () => {
  assert.deepEqual([...totals(nodes, snapshot, "bytes")], [40, 30, 30, 10]);
  assert.deepEqual([...totals(nodes, snapshot, "allocBytes")], [0, 0, 0, 0]);
  const { root } = makeTree({ nodes, functions }, snapshot, "objects", null);
  assert.equal(root.value, 4);
  assert.deepEqual(root.children[0].children.map(({ name, value }) => [name, value]), [["work", 3], ["cache", 1]]);
});

test("growth is drawn, shrinking told", () => {
  const base = { node: Uint32Array.from([2, 3]), bytes: [5, 50], objects: [1, 1] };
  const { root, shrunk } = makeTree({ nodes, functions }, snapshot, "growth", base);
  assert.equal(root.value, 25);
  assert.equal(shrunk, 40);
  assert.deepEqual(root.children[0].children.map(({ name }) => name), ["work"]);
  assert.deepEqual([root.now, root.before], [40, 55]);
  assert.deepEqual([change(10, 0), change(0, 10), change(5, 5), change(0, 0)], [1, -1, 0, 0]);
});

test("a search is a regular expression, or else the text itself", () => {
  assert.ok(matcher("wor")("Worker"));
  assert.ok(!matcher("Wor")("worker"));
  assert.ok(matcher("operator()(")("x::operator()(int)"));
  assert.ok(matcher("(")("f(x)"));
});

test("suspects are sorted, what is unknown last", () => {
  const suspects = [
    { rank: 1, verdict: "growing", growth: [5], live: 1, share: null },
    { rank: 2, verdict: "stable", growth: null, live: 900, share: 0.1 },
    { rank: 3, verdict: "growing", growth: [9], live: 1, share: 0.5 },
  ];
  const order = (key, descending) => sorted(suspects, key, descending).map(({ rank }) => rank);
  assert.deepEqual(order("growth", true), [3, 1, 2]);
  assert.deepEqual(order("growth", false), [1, 3, 2]);
  assert.deepEqual(order("live", true), [2, 1, 3]);
  assert.deepEqual(order("share", true), [3, 2, 1]);
  assert.deepEqual(order("verdict", false), [1, 3, 2]);
  assert.deepEqual(worthShowing([...suspects, { rank: 4, verdict: "stable", live: 1 }]).length, 3);
});

test("the first function of the program's own names a stack", () => {
  const path = ["native-library", "java-library", "java"].map((code) => ({ code }));
  assert.equal(culprit(path), 2);
  assert.equal(culprit(path.slice(0, 2)), 0);
  assert.equal(place({ file: "/src/a.cc", line: 7 }), "a.cc:7");
  assert.equal(place({ file: "", mapping: "/lib/libz.so.1" }), "libz.so.1");
});

test("data is decoded", () => {
  const raw = {
    version: "1", warnings: [], texts: ["main", "a.c", "", "time"],
    functions: { name: [0], file: [1], line: [3], mapping: [2], how: [2], code: [2] },
    nodes: { parent: [0, 1], function: [0, 0] }, base: null,
    processes: [{
      dumps: { reason: [3], file: [1] }, leftOut: [[5, 3, 1]], hasAlloc: false,
      suspects: [{ note: 2, path: [0], callers: [[[0], 1, 2]], threads: [[0, 1, 2]], objects: 2, live: 10 }],
      snapshots: [{ dump: 0, node: [0, 1], bytes: [1, 2], objects: [1, 1] }],
    }],
  };
  const data = decode(raw);
  assert.deepEqual([...data.nodes.parent], [-1, 0]);
  const [process] = data.processes;
  assert.deepEqual([...process.snapshots[0].node], [0, 1]);
  assert.equal(process.suspects[0].path[0].file, "a.c");
  assert.equal(process.suspects[0].mean, 5);
  assert.deepEqual(metricsOf(process, false).map(({ id }) => id), ["bytes", "objects"]);
  assert.equal(metricsOf({ hasAlloc: true }, true).length, 5);
});
