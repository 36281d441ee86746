// Flame graphs as trees: values of stacks summed up along the way to the outermost function.

// What each node and all below it hold. `snapshot` as decode() gives it.
export function totals(nodes, snapshot, metric) {
  const sum = new Float64Array(nodes.parent.length);
  const values = snapshot?.[metric];
  if (!values) return sum;
  for (let i = 0; i < values.length; ++i) sum[snapshot.node[i]] += values[i];
  // A parent comes before its children.
  for (let node = sum.length - 1; node >= 0; --node) {
    if (nodes.parent[node] >= 0) sum[nodes.parent[node]] += sum[node];
  }
  return sum;
}

// What stacks grew by from `base` to `snapshot`, those that shrank as nothing; and how much those shrank by.
function growthTotals(nodes, snapshot, base) {
  const own = new Float64Array(nodes.parent.length);
  for (const [from, sign] of [[snapshot, 1], [base, -1]]) {
    for (let i = 0; i < from.node.length; ++i) own[from.node[i]] += sign * from.bytes[i];
  }
  let shrunk = 0;
  for (let node = own.length - 1; node >= 0; --node) {
    if (own[node] < 0) {
      shrunk -= own[node];
      own[node] = 0;
    }
  }
  for (let node = own.length - 1; node >= 0; --node) {
    if (nodes.parent[node] >= 0) own[nodes.parent[node]] += own[node];
  }
  return { sum: own, shrunk };
}

// The tree of `snapshot` by `metric`: {name, value, children, code, before, function}, the largest child first.
// `before`: what `base` has there; without a base undefined. `size`: how many there are.
// `shrunk`: of growth, what is not in the tree.
export function makeTree({ nodes, functions }, snapshot, metric, base) {
  const grown = metric === "growth" ? growthTotals(nodes, snapshot, base) : null;
  const sum = grown ? grown.sum : totals(nodes, snapshot, metric);
  const before = base ? totals(nodes, base, grown ? "bytes" : metric) : null;
  const now = grown && before ? totals(nodes, snapshot, "bytes") : sum;
  const root = { name: "all", value: 0, children: [], code: "all", before: before ? 0 : undefined, now: 0 };
  const made = new Array(sum.length);
  for (let node = 0; node < sum.length; ++node) {
    const parent = nodes.parent[node];
    if (before && parent < 0) root.before += before[node];
    if (parent < 0) root.now += now[node];
    if (!(sum[node] > 0)) continue;
    const code = functions[nodes.function[node]];
    made[node] = {
      name: code.name,
      value: sum[node],
      children: [],
      code: code.code,
      function: code,
      now: now[node],
      before: before ? before[node] : undefined,
    };
    const above = parent < 0 ? root : made[parent];
    above.children.push(made[node]);
    if (parent < 0) root.value += sum[node];
  }
  const order = (item) => {
    item.children.sort((a, b) => b.value - a.value);
    return item;
  };
  made.forEach(order);
  let size = 0;
  made.forEach(() => ++size);
  return { root: order(root), size, shrunk: grown ? grown.shrunk : 0 };
}

// Whether `name` is what `term` looks for: a regular expression, or the text itself where it is none. Case matters only
// where the term has capitals.
export function matcher(term) {
  const flags = term === term.toLowerCase() ? "i" : "";
  let pattern;
  try {
    pattern = new RegExp(term, flags);
  } catch {
    pattern = new RegExp(term.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), flags);
  }
  return (name) => pattern.test(name);
}

// From -1 (all gone) to 1 (all new): how what is there now differs from what was.
export function change(now, before) {
  const most = Math.max(Math.abs(now), Math.abs(before));
  return most > 0 ? (now - before) / most : 0;
}
