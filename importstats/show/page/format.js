// Numbers as text, as importstats.text writes them.
const UNKNOWN = "unknown";
const known = (value) => value !== null && value !== undefined && !Number.isNaN(value);

function duration(seconds) {
  if (!known(seconds)) return UNKNOWN;
  if (seconds < 0) return `-${duration(-seconds)}`;
  if (seconds < 10) return `${Number(seconds.toFixed(1))} s`;
  const whole = Math.round(seconds);
  for (const [unit, size, next, nextSize] of [
    ["d", 86400, "h", 3600],
    ["h", 3600, "min", 60],
    ["min", 60, "s", 1],
  ]) {
    if (whole < size) continue;
    const rounded = Math.round(whole / nextSize) * nextSize;
    if (unit === "h" && rounded >= 86400) return duration(rounded);
    const small = Math.round((rounded % size) / nextSize);
    const large = Math.floor(rounded / size);
    return small ? `${large} ${unit} ${small} ${next}` : `${large} ${unit}`;
  }
  return `${whole} s`;
}

function prefixed(number) {
  const prefixes = ["", "k", "M", "G", "T", "P", "E"];
  let power = 0;
  while (power < prefixes.length - 1 && Math.abs(Number(number.toPrecision(3))) >= 1000) {
    number /= 1000;
    power += 1;
  }
  return `${Number(number.toPrecision(3))} ${prefixes[power]}`;
}

const count = (value) =>
  !known(value) ? UNKNOWN : Math.abs(value) < 999500 ? Math.round(value).toLocaleString("en-US") : prefixed(value);
const bytes = (value) => (known(value) ? `${prefixed(value)}B` : UNKNOWN);
const rate = (value) => (known(value) ? `${prefixed(value).trimEnd()} rows/s` : UNKNOWN);
const delay = (value) => (!known(value) ? UNKNOWN : value === 0 ? "nothing" : duration(value));
const percent = (value) => (known(value) ? `${Number(value.toFixed(1))} %` : UNKNOWN);

const rough = (seconds) => duration(seconds >= 120 ? 60 * Math.round(seconds / 60) : seconds);

function leftText(eta, at) {
  const [low, middle, high] = eta.map((end) => (known(end) ? end - at : NaN));
  if (middle <= 0) return `should have ended by now${high > 0 ? ` (at most ${rough(high)} more)` : ""}`;
  if (Number.isNaN(low) || Number.isNaN(high)) return `${rough(middle)} left`;
  const least = Math.max(low, 0);
  if (middle >= 120 && high < 7200) {
    return `${Math.round(middle / 60)} min left (${Math.round(least / 60)} to ${Math.round(high / 60)})`;
  }
  return `${rough(middle)} left (${rough(least)} to ${rough(high)})`;
}
