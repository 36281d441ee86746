// The order of the suspects, and the words of a row.

const VERDICTS = ["growing", "waits for GC", "cache-like", "shrinking", "stable", "too few dumps"];

const KEYS = {
  rank: (suspect) => suspect.rank,
  verdict: (suspect) => VERDICTS.indexOf(suspect.verdict),
  growth: (suspect) => (suspect.growth ? suspect.growth[0] : null),
  live: (suspect) => suspect.live,
  objects: (suspect) => suspect.objects,
  mean: (suspect) => suspect.mean,
  ages: (suspect) => suspect.quartiles[1],
  share: (suspect) => suspect.share,
};

// Columns whose first click sorts the largest first.
export const DESCENDING = new Set(["growth", "live", "objects", "mean", "ages", "share"]);

// `suspects` in the order of column `key`; what is unknown comes last, what is equal by rank.
export function sorted(suspects, key, descending) {
  const of = KEYS[key];
  return [...suspects].sort((a, b) => {
    const [left, right] = [of(a), of(b)];
    if (left === null || right === null) return (left === null) - (right === null) || a.rank - b.rank;
    return (descending ? right - left : left - right) || a.rank - b.rank;
  });
}

// Those shown at first: what grows, and the largest of the others.
export function worthShowing(suspects) {
  const live = suspects.reduce((sum, suspect) => sum + suspect.live, 0);
  let growing = 0;
  let others = 0;
  return suspects.filter((suspect) =>
    suspect.verdict === "growing" || suspect.verdict === "waits for GC"
      ? ++growing <= 20
      : suspect.live >= 0.01 * live && ++others <= 8,
  );
}

// The part of a stack, leaf first, that names it: without the ways in and out of libraries.
export function culprit(path) {
  const own = path.findIndex((frame) => !["java-library", "native-library", "vm", "kernel", "unknown"].includes(frame.code));
  return own < 0 ? 0 : own;
}

// "SessionBuffers.java:19", "libfoo.so" or nothing.
export function place(frame) {
  const base = (path) => path.slice(path.lastIndexOf("/") + 1);
  if (frame.file) return base(frame.file) + (frame.line > 0 ? `:${frame.line}` : "");
  return frame.mapping ? base(frame.mapping) : "";
}
