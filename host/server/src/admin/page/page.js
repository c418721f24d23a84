// Asks the server for its numbers, and shows them.

import { Chart, Table, element, show } from './dom.js';
import { History, SHOWN } from './series.js';

const reduced = matchMedia('(prefers-reduced-motion: reduce)');
const PATIENCE_MS = 5000;

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });

function time(ms) {
  if (ms === null) return '–';
  if (ms === Infinity) return '> 10 s';
  return ms < 1000 ? `${short.format(ms)} ms`.replace(/^0 ms$/, `${ms} ms`) : `${short.format(ms / 1000)} s`;
}

function size(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (bytes >= 1024 && unit + 1 < units.length) {
    bytes /= 1024;
    unit += 1;
  }
  return `${short.format(bytes)} ${units[unit]}`;
}

function duration(seconds) {
  const [days, hours, minutes] = [86400, 3600, 60].map((unit) => Math.floor(seconds / unit));
  if (days > 0) return `${days} d ${hours % 24} h`;
  if (hours > 0) return `${hours} h ${minutes % 60} min`;
  return minutes > 0 ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(seconds)} s`;
}

const number = (title, value, options = {}) => ({
  title, number: true, sort: value, text: (row) => whole.format(value(row)), ...options,
});
const name = (title) => ({ title, sort: (row) => row.name, text: (row) => row.name });
const rate = (title, value) => number(title, value, { text: (row) => short.format(value(row)) });
const times = (title, value) => number(title, value, { text: (row) => time(value(row)) });
const problems = (title, value) => number(title, value, { wrong: (row) => value(row) > 0 });

const CLASSES = ['2xx', '3xx', '4xx', '5xx', 'none'];
const all = (component) => CLASSES.reduce((sum, of) => sum + component.classes[of], 0);
const requests = (snapshot) => Object.values(snapshot.components).reduce((sum, component) => sum + all(component), 0);
/** The sum of all components' or databases' times. */
const together = (member, times) => (snapshot) => {
  const each = Object.values(snapshot[member]).map(times);
  return { counts: snapshot.bounds_ms.concat(Infinity).map((_, i) => each.reduce((sum, of) => sum + of.counts[i], 0)) };
};

const charts = [
  ['Requests per second', (value) => short.format(value), (span) => span.rate(requests)],
  ['Request time, p99', time, (span) => span.quantile(together('components', (of) => of.times), 0.99) ?? 0],
  ['Connections in use', (value) => whole.format(value), (span) => Object.values(span.now.databases)
    .reduce((sum, database) => sum + (database.counters.in_use ?? 0), 0)],
  ['Wait for a connection, p99', time, (span) => span.quantile(together('databases', (of) => of.waits), 0.99) ?? 0],
].map(([title, format, value]) => {
  const chart = new Chart(document.getElementById('charts'), title, format);
  return (history) => chart.show(history.steps(value), SHOWN);
});

const components = new Table('components-table', 'Components', [
  name('Component'),
  rate('Requests/s', (row) => row.rate),
  number('2xx', (row) => row.classes['2xx']),
  number('3xx', (row) => row.classes['3xx']),
  number('4xx', (row) => row.classes['4xx']),
  problems('5xx', (row) => row.classes['5xx']),
  number('Client left', (row) => row.classes.none),
  times('p50', (row) => row.p50),
  times('p99', (row) => row.p99),
  number('Instances', (row) => row.instances),
  number('Sent/s', (row) => row.bytes, { text: (row) => size(row.bytes) }),
  { title: 'Failures', text: (row) => Object.entries(row.failures).map(([cause, count]) => `${count} ${cause}`).join(', ') },
]);

const databases = new Table('databases-table', 'Databases', [
  name('Database'),
  number('In use', (row) => row.counters.in_use ?? row.counters.open, { text: (row) => row.use }),
  number('Waiting', (row) => row.counters.waiting),
  number('Writers waiting', (row) => row.counters.writers_waiting ?? 0),
  rate('Statements/s', (row) => row.rate),
  times('p50', (row) => row.p50),
  times('p99', (row) => row.p99),
  times('Wait p99', (row) => row.wait),
  times('Turn p99', (row) => row.turn),
  problems('Failed', (row) => row.failed),
  problems('Timeouts', (row) => row.counters.timeouts),
  {
    title: 'Disk free',
    text: (row) => row.disks.map((disk) => size(disk.free)).join(', '),
    wrong: (row) => row.disks.some((disk) => disk.low),
  },
  {
    title: 'Last upkeep',
    sort: (row) => -(row.upkeep.last?.ago_s ?? Infinity),
    text: (row) => (row.upkeep.last ? `${duration(row.upkeep.last.ago_s)} ago` : ''),
  },
  { title: 'Server', text: (row) => (row.counters.unreachable ? 'unreachable' : ''), wrong: () => true },
]);

const tenants = new Table('tenants-table', 'Tenants', [
  { title: 'Tenant', sort: (row) => row.tenant, text: (row) => row.tenant },
  { title: 'Database', sort: (row) => row.database, text: (row) => row.database },
  number('Statements', (row) => row.statements),
  { title: 'Open', text: (row) => (row.open ? 'yes' : 'no') },
  number('Last used', (row) => row.idle_s, { text: (row) => `${duration(row.idle_s)} ago` }),
]);

const clock = (row) => element('time', { dateTime: row.time, title: row.time }, new Date(row.time).toLocaleTimeString());

const slow = new Table('slow-table', 'Slow statements', [
  { title: 'When', node: clock },
  number('Time', (row) => row.ms, { text: (row) => time(row.ms) }),
  number('Rows', (row) => row.rows),
  { title: 'Database', text: (row) => (row.tenant ? `${row.database} (${row.tenant})` : row.database) },
  { title: 'Component', text: (row) => row.component },
  number('Request', (row) => row.request ?? 0),
  { title: 'Result', text: (row) => row.result, wrong: (row) => row.result !== 'ok' },
  { title: 'Statement', long: true, node: statement },
]);

const events = new Table('events-table', 'Events', [
  { title: 'When', node: clock },
  { title: 'Event', text: (row) => row.event },
  { title: 'What', long: true, node: (row) => element('code', {}, row.text) },
]);

function statement(row) {
  const parts = document.createDocumentFragment();
  parts.append(element('code', {}, row.whole ? row.sql : `${row.sql}…`));
  if (row.plan) {
    const plan = element('pre', {}, row.plan.join('\n'));
    parts.append(element('details', {}, element('summary', {}, 'Plan'), plan));
  }
  return parts;
}

function componentRow(span, key) {
  const of = (snapshot) => snapshot.components[key];
  const count = (what) => (snapshot) => (of(snapshot) ? what(of(snapshot)) : 0);
  const spread = (snapshot) => of(snapshot)?.times;
  const now = of(span.now);
  return {
    ...now,
    key,
    name: key || '(no route fits)',
    rate: span.rate(count(all)),
    bytes: span.rate(count((component) => component.bytes)),
    p50: span.quantile(spread, 0.5),
    p99: span.quantile(spread, 0.99),
  };
}

function databaseRow(span, key) {
  const of = (snapshot) => snapshot.databases[key];
  const sum = (snapshot) => of(snapshot)?.statements.counts.reduce((sum, count) => sum + count, 0) ?? 0;
  const quantile = (member, part) => span.quantile((snapshot) => of(snapshot)?.[member], part);
  const { counters, ...now } = of(span.now);
  return {
    ...now,
    counters,
    key,
    name: key,
    use: now.tenants ? `${counters.open} open` : `${counters.in_use} of ${counters.max_size}`,
    rate: span.rate(sum),
    p50: quantile('statements', 0.5),
    p99: quantile('statements', 0.99),
    wait: quantile('waits', 0.99),
    turn: quantile('turn_waits', 0.99),
  };
}

const STATES = { starting: 'Starting', serving: 'Serving', 'shutting-down': 'Shutting down' };
const history = new History();
/** The start of the server, roughly: rows of another start have other keys. */
let start = 0;

function state(text, kind) {
  show('state', text);
  document.getElementById('state').className = kind;
}

function draw(snapshot) {
  history.add(snapshot);
  const span = history.recent();
  const started = Math.round((Date.now() - snapshot.uptime_ms) / 10_000);
  if (Math.abs(started - start) > 1) start = started;
  const numbered = (row) => ({ ...row, key: `${start} ${row.number}` });

  state(STATES[snapshot.state], snapshot.state === 'serving' ? 'good' : 'bad');
  show('uptime', duration(snapshot.uptime_ms / 1000));
  show('places', `${snapshot.places.in_use} of ${snapshot.places.max} requests`);
  show('version', snapshot.version);
  for (const chart of charts) chart(history);
  components.show(Object.keys(snapshot.components).map((key) => componentRow(span, key)));
  databases.show(Object.keys(snapshot.databases).map((key) => databaseRow(span, key)));
  document.getElementById('tenants-section').hidden = snapshot.tenants.length === 0;
  tenants.show(snapshot.tenants.map((row) => ({ ...row, key: `${row.database} ${row.tenant}` })));
  slow.show(snapshot.slow.recent.map(numbered));
  show('slow-note', snapshot.slow.time_ms === null
    ? 'slow-statement-time is not set: none are collected.'
    : `${whole.format(snapshot.slow.total)} ran for ${time(snapshot.slow.time_ms)} or longer. The text is what the guest wrote.`);
  document.getElementById('slow-scroll').hidden = snapshot.slow.recent.length === 0;
  events.show(snapshot.events.recent.map(numbered));
  show('events-note', snapshot.events.total === 0 ? 'None since the start.' : `${whole.format(snapshot.events.total)} since the start.`);
  document.getElementById('events-scroll').hidden = snapshot.events.total === 0;
}

let paused = false;

async function refresh() {
  if (!paused && !document.hidden) {
    try {
      const answer = await fetch('snapshot', { signal: AbortSignal.timeout(PATIENCE_MS) });
      if (!answer.ok) throw new Error(answer.statusText);
      draw(await answer.json());
    } catch {
      state('No connection to the server: trying again', 'bad');
    }
  }
  // Less often for people whom movement disturbs.
  setTimeout(refresh, reduced.matches ? 5000 : 1000);
}

document.getElementById('pause').addEventListener('click', ({ target }) => {
  paused = !paused;
  target.ariaPressed = String(paused);
});

refresh();
