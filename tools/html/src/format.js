// Numbers as leakprof --leaks writes them.

const HOUR = 3600;
const UNITS = ["", "K", "M", "G", "T", "P"];
const NONE = "–";

// "412M", "1.3G", "96K", "12": powers of 1024, about three digits.
export function bytes(value) {
  if (value === null || !Number.isFinite(value)) return NONE;
  let size = Math.abs(value);
  let unit = 0;
  while (size >= 999.5 && unit + 1 < UNITS.length) {
    size /= 1024;
    ++unit;
  }
  const digits = unit > 0 && size < 9.95 ? 1 : 0;
  const text = size.toFixed(digits).replace(/\.0$/, "") + UNITS[unit];
  return value < 0 && text !== "0" ? `−${text}` : text;
}

export function signedBytes(value) {
  const text = bytes(value);
  return text === NONE || text.startsWith("−") ? text : `+${text}`;
}

export function perHour(rate) {
  return rate === null ? NONE : signedBytes(rate * HOUR);
}

// "11185", "1.2M": a count.
export function count(value) {
  if (value === null || !Number.isFinite(value)) return NONE;
  const size = Math.abs(value);
  const scaled = (by, unit) => (size / by < 9.95 ? (size / by).toFixed(1) : (size / by).toFixed(0)) + unit;
  const text = size < 99999.5 ? size.toFixed(0) : size < 1e6 ? scaled(1e3, "k") : size < 1e9 ? scaled(1e6, "M") : scaled(1e9, "G");
  return value < 0 && text !== "0" ? `−${text}` : text;
}

export function percent(share) {
  if (share === null || !Number.isFinite(share)) return NONE;
  const digits = Math.abs(share) < 0.0995 && Math.abs(share) >= 0.0005 ? 1 : 0;
  return `${(100 * share).toFixed(digits).replace(/^-0$/, "0").replace("-", "−")} %`;
}

// "3h10", "25 min", "40 s", "2.5 d".
export function duration(seconds) {
  if (seconds === null || !Number.isFinite(seconds)) return NONE;
  if (seconds < 100) return `${Math.round(seconds)} s`;
  if (seconds < 100 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 48 * HOUR) {
    const minutes = Math.round(seconds / 60);
    return `${Math.floor(minutes / 60)}h${String(minutes % 60).padStart(2, "0")}`;
  }
  return `${(seconds / 24 / HOUR).toFixed(1)} d`;
}

const two = (number) => String(number).padStart(2, "0");
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

// "2026-11-25 17:13:58", of Unix seconds, in UTC.
export function time(seconds) {
  if (seconds === null || !Number.isFinite(seconds) || Math.abs(seconds) > 1e11) return NONE;
  return new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ");
}

// Marks of a time axis whose marks are `step` seconds apart; the day is told where it is another one than before.
export function timeMarks(marks, step) {
  let day = "";
  return marks.map((mark) => {
    const at = new Date(mark * 1000);
    const date = `${at.getUTCDate()} ${MONTHS[at.getUTCMonth()]}`;
    if (step >= 86400) return date;
    const clock = `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}${step < 60 ? `:${two(at.getUTCSeconds())}` : ""}`;
    const text = date === day ? clock : `${clock}\n${date}`;
    day = date;
    return text;
  });
}

// The last part of a path.
export function baseName(path) {
  return path.slice(path.lastIndexOf("/") + 1);
}
