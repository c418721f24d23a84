// What the numbers of two snapshots say of the time between them.

/** How many seconds the charts show, and the tables are about. */
export const SHOWN = 60;
const RECENT = 10;

/** The snapshots of the last minute. */
export class History {
  #all = [];

  /** Add a snapshot. One of a server that was started again forgets those before. */
  add(snapshot) {
    if (this.#all.length > 0 && this.#all.at(-1).uptime_ms > snapshot.uptime_ms) this.#all = [];
    this.#all.push(snapshot);
    const oldest = snapshot.uptime_ms - SHOWN * 1000 - 500;
    while (this.#all.length > 2 && this.#all[0].uptime_ms < oldest) this.#all.shift();
  }

  /** The last seconds. */
  recent() {
    const now = this.#all.at(-1);
    const begin = now.uptime_ms - RECENT * 1000 - 500;
    const before = this.#all.find((snapshot) => snapshot.uptime_ms >= begin);
    return new Span(before === now ? null : before, now);
  }

  /** A value for each step of the last minute, from the oldest on. */
  steps(value) {
    return this.#all.slice(1).map((now, index) => value(new Span(this.#all[index], now)));
  }
}

/** The time between two snapshots, or from the server's start to one. */
export class Span {
  constructor(before, now) {
    this.before = before;
    this.now = now;
    this.seconds = Math.max((now.uptime_ms - (before?.uptime_ms ?? 0)) / 1000, 0.001);
  }

  /** By how much a count has grown. */
  more(count) {
    return Math.max(count(this.now) - (this.before ? (count(this.before) ?? 0) : 0), 0);
  }

  /** By how much a count grows in a second. */
  rate(count) {
    return this.more(count) / this.seconds;
  }

  /** How many more times each bucket has. */
  buckets(times) {
    const before = this.before && times(this.before);
    return times(this.now).counts.map((count, index) => count - (before?.counts[index] ?? 0));
  }

  /** The upper bound, in milliseconds, of the bucket with this part of the times. */
  quantile(times, part) {
    return quantile(this.buckets(times), this.now.bounds_ms, part);
  }
}

/** The upper bound of the bucket with this part of the counts; `null` if there are none. */
export function quantile(counts, bounds, part) {
  const wanted = part * counts.reduce((sum, count) => sum + count, 0);
  let sum = 0;
  for (const [index, count] of counts.entries()) {
    sum += count;
    if (sum > 0 && sum >= wanted) return bounds[index] ?? Infinity;
  }
  return null;
}
