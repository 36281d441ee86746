// The data that leakprof put into the page, as the rest of the page wants it: tools/output/html.cc.

// Of CodeKind in tools/report/overview.h.
export const CODE = ["java", "java-library", "native", "native-library", "vm", "kernel", "unknown"];
// Of MemoryClass in tools/report/memory_split.h.
export const CLASSES = ["malloc live", "allocator slack", "Java heap", "metaspace", "threads", "files", "unexplained"];
// Upper bounds of the age buckets, in words.
export const AGES = ["<10s", "1m", "5m", "15m", "1h", "4h", "1d", "older"];

export const METRICS = [
  { id: "bytes", name: "live bytes", unit: "bytes" },
  { id: "objects", name: "live blocks", unit: "count" },
  { id: "allocBytes", name: "allocated bytes", unit: "bytes", alloc: true },
  { id: "allocObjects", name: "allocated blocks", unit: "count", alloc: true },
  { id: "growth", name: "growth in bytes", unit: "bytes", compares: true },
];

function decodeSnapshot(raw) {
  let node = 0;
  return { ...raw, node: Uint32Array.from(raw.node, (step) => (node += step)) };
}

export function decode(raw) {
  const text = (id) => raw.texts[id];
  const functions = raw.functions.name.map((name, i) => ({
    name: text(name),
    file: text(raw.functions.file[i]),
    line: raw.functions.line[i],
    mapping: text(raw.functions.mapping[i]),
    how: text(raw.functions.how[i]),
    code: CODE[raw.functions.code[i]],
  }));
  // An outermost node is its own parent; here its parent is -1.
  const parent = Int32Array.from(raw.nodes.parent, (distance, i) => (distance === 0 ? -1 : i - distance));
  const path = (ids) => ids.map((id) => functions[id]);
  const processes = raw.processes.map((process) => {
    const dumps = { ...process.dumps, reason: process.dumps.reason.map(text), file: process.dumps.file.map(text) };
    return {
      ...process,
      dumps,
      leftOut: process.leftOut.map(([time, reason, file]) => ({ time, reason: text(reason), file: text(file) })),
      suspects: process.suspects.map((suspect, i) => ({
        ...suspect,
        rank: i + 1,
        note: text(suspect.note),
        path: path(suspect.path),
        callers: suspect.callers.map(([ids, growth, live]) => ({ path: path(ids), growth, live })),
        threads: suspect.threads.map(([name, bytes, objects]) => ({ name: text(name), bytes, objects })),
        mean: suspect.objects > 0 ? suspect.live / suspect.objects : null,
      })),
      snapshots: process.snapshots.map(decodeSnapshot),
    };
  });
  return {
    version: raw.version,
    warnings: raw.warnings,
    functions,
    nodes: { parent, function: Uint32Array.from(raw.nodes.function) },
    processes,
    base: raw.base && { name: raw.base.name, snapshot: decodeSnapshot(raw.base.snapshot) },
  };
}

// The metrics that make sense for `process`.
export function metricsOf(process, hasBase) {
  return METRICS.filter((metric) => (!metric.alloc || process.hasAlloc) && (!metric.compares || hasBase));
}
