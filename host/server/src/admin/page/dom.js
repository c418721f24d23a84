// Draws tables and charts. Every text becomes a text node: none is markup.

/** A new element, with a text or children. */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  Object.assign(made, properties);
  made.append(...children);
  return made;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * A table that keeps its rows, and with them the focus and what is selected.
 *
 * A column has a title, and may have `number`, `long`, `sort` (a row's value), `wrong` (whether the value is a
 * problem), and `text` or `node` (what a row shows).
 */
export class Table {
  #table;
  #columns;
  #body = element('tbody');
  #rows = new Map();
  #sorted = null;
  #last = [];

  constructor(id, caption, columns) {
    this.#table = document.getElementById(id);
    this.#columns = columns;
    const head = element('tr');
    for (const [index, column] of columns.entries()) {
      const cell = element('th', { scope: 'col', className: column.number ? 'number' : '' });
      if (column.sort) {
        const button = element('button', { type: 'button' }, column.title);
        button.addEventListener('click', () => this.#sortBy(index, cell));
        cell.append(button);
      } else {
        cell.append(column.title);
      }
      head.append(cell);
    }
    this.#table.ariaLabel = caption;
    this.#table.append(element('thead', {}, head), this.#body);
  }

  #sortBy(index, cell) {
    const descends = this.#sorted?.index === index && this.#sorted.descends;
    this.#sorted = { index, descends: !descends };
    for (const other of this.#table.tHead.rows[0].cells) other.removeAttribute('aria-sort');
    cell.ariaSort = descends ? 'ascending' : 'descending';
    this.show(this.#last);
  }

  /** Show these rows. Each has a `key`. */
  show(rows) {
    this.#last = rows;
    let sorted = rows;
    if (this.#sorted) {
      const { sort } = this.#columns[this.#sorted.index];
      const sign = this.#sorted.descends ? -1 : 1;
      const compare = (one, other) => (one < other ? -1 : one > other ? 1 : 0);
      sorted = rows.toSorted((one, other) => sign * compare(sort(one) ?? -1, sort(other) ?? -1));
    }
    const keys = new Set(rows.map((row) => row.key));
    for (const [key, row] of this.#rows) {
      if (!keys.has(key)) {
        row.remove();
        this.#rows.delete(key);
      }
    }
    for (const [index, row] of sorted.entries()) {
      const shown = this.#row(row);
      // Only what moves is touched, so that the focus stays.
      if (this.#body.rows[index] !== shown) this.#body.insertBefore(shown, this.#body.rows[index] ?? null);
    }
  }

  #row(row) {
    let shown = this.#rows.get(row.key);
    if (!shown) {
      shown = element('tr');
      for (const [index, column] of this.#columns.entries()) {
        const cell = element(index === 0 ? 'th' : 'td');
        if (index === 0) cell.scope = 'row';
        cell.className = column.number ? 'number' : column.long ? 'long' : '';
        if (column.node) cell.append(column.node(row));
        shown.append(cell);
      }
      this.#rows.set(row.key, shown);
    }
    for (const [index, column] of this.#columns.entries()) {
      if (column.node) continue;
      setText(shown.cells[index], column.text(row));
      if (column.wrong) shown.cells[index].classList.toggle('wrong', column.wrong(row));
    }
    return shown;
  }
}

const SVG = 'http://www.w3.org/2000/svg';
const [WIDTH, HEIGHT] = [240, 56];

/** A line of the last minute's values. */
export class Chart {
  #title;
  #format;
  #svg = document.createElementNS(SVG, 'svg');
  #line = document.createElementNS(SVG, 'polyline');
  #value = element('strong');

  constructor(parent, title, format) {
    this.#title = title;
    this.#format = format;
    this.#svg.setAttribute('viewBox', `0 0 ${WIDTH} ${HEIGHT}`);
    this.#svg.setAttribute('preserveAspectRatio', 'none');
    this.#svg.setAttribute('role', 'img');
    this.#svg.append(this.#line);
    const caption = element('figcaption', {}, element('span', {}, title), this.#value);
    parent.append(element('figure', {}, caption, this.#svg));
    this.show([], 2);
  }

  /** Show these values, up to `most` of them. */
  show(values, most) {
    const top = Math.max(...values, 0);
    const points = values.map((value, index) => {
      const x = WIDTH - (values.length - 1 - index) * (WIDTH / (most - 1));
      const y = HEIGHT - 2 - (top > 0 ? (value / top) * (HEIGHT - 4) : 0);
      return `${x.toFixed(1)},${y.toFixed(1)}`;
    });
    this.#line.setAttribute('points', points.join(' '));
    const now = this.#format(values.at(-1) ?? 0);
    setText(this.#value, now);
    this.#svg.setAttribute('aria-label', `${this.#title}: now ${now}, at most ${this.#format(top)} in the last minute`);
  }
}

/** Change an element's text, if it is another. */
export function show(id, text) {
  setText(document.getElementById(id), text);
}
