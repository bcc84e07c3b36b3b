// The table of all files: only the rows in sight are in the page.
const COLUMNS = [
  { id: "state", of: (f, row) => nameAt(f.raw_state, row) },
  { id: "verdict", of: (f, row) => verdictText(f, row) },
  { id: "delay_s", show: delay },
  { id: "run_s", show: duration },
  { id: "wait_s", show: duration },
  { id: "rows_per_s", show: rate },
  { id: "imported_rows", show: count },
  { id: "file_size_bytes", show: bytes },
  { id: "retries", show: count },
  { id: "idle_s", show: duration },
  { id: "reason", of: (f, row) => nameAt(f.reason, row) },
];
const ROW_HEIGHT = 30;
const SPARE_ROWS = 12;
const SHARES = [["least", 0], ["25 %", 0.25], ["median", 0.5], ["75 %", 0.75], ["most", 1]];

const KINDS = {
  all: () => true,
  late: (f, row) => ["failed", "now"].includes(nameAt(f.matters, row)),
  was: (f, row) => nameAt(f.matters, row) === "was",
  work: (f, row) => !["completed", "failed", "pending", "none", ""].includes(nameAt(f.state, row)),
  waiting: (f, row) => ["pending", "none", ""].includes(nameAt(f.state, row)),
  done: (f, row) => nameAt(f.state, row) === "completed",
};

// The rows that search and filter leave, in the order that is asked for.
function chosenRows(files, query, only, sort) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const keep = KINDS[only] ?? KINDS.all;
  const rows = [];
  for (let row = 0; row < files.count; row += 1) {
    if (!keep(files, row)) continue;
    if (words.length && !words.every((word) => files.search[row].includes(word))) continue;
    rows.push(row);
  }
  const down = sort.startsWith("-");
  const id = down ? sort.slice(1) : sort;
  if (id === "matters") return down ? rows.reverse() : rows;
  const column = COLUMNS.find((one) => one.id === id);
  if (id !== "name" && !column) return rows;
  if (id === "name" || column.of) {
    const text = id === "name" ? (row) => files.name[row] : (row) => column.of(files, row);
    rows.sort((a, b) => (text(a) < text(b) ? -1 : text(a) > text(b) ? 1 : a - b));
    return down ? rows.reverse() : rows;
  }
  const values = files[id];
  // An unknown delay of a file that is late now comes first; any other unknown comes last.
  const key = (row) => {
    if (known(values[row])) return down ? -values[row] : values[row];
    return id === "delay_s" && nameAt(files.matters, row) === "now" ? -Infinity : Infinity;
  };
  const keys = new Float64Array(files.count);
  for (const row of rows) keys[row] = key(row);
  // Two infinities have no difference.
  return rows.sort((a, b) => (keys[a] === keys[b] ? a - b : keys[a] < keys[b] ? -1 : 1));
}

function quantiles(files, rows) {
  return COLUMNS.map((column) => {
    if (column.of) return SHARES.map(() => "");
    const values = Float64Array.from(rows.map((row) => files[column.id][row]).filter(known)).sort();
    if (!values.length) return SHARES.map(() => "");
    return SHARES.map(([, share]) => {
      const place = share * (values.length - 1);
      const low = Math.floor(place);
      const high = Math.min(low + 1, values.length - 1);
      return column.show(values[low] + (values[high] - values[low]) * (place - low));
    });
  });
}

function makeTable(data, rows) {
  const { files } = data;
  const scroll = root.getElementById("files-scroll");
  const body = root.getElementById("files-rows");
  const head = root.getElementById("files-quantiles");
  body.replaceChildren();
  const above = document.createElement("tr");
  const below = document.createElement("tr");
  body.append(above, below);
  const pool = [];

  function makeRow() {
    const line = document.createElement("tr");
    const name = document.createElement("th");
    name.scope = "row";
    const link = document.createElement("a");
    name.append(link);
    line.append(name);
    for (const column of COLUMNS) {
      const cell = document.createElement("td");
      if (!column.of) cell.className = "number";
      line.append(cell);
    }
    line.addEventListener("click", (event) => {
      event.preventDefault();
      const row = Number(line.dataset.row);
      choice.file.value = choice.file.value === files.name[row] ? "" : files.name[row];
    });
    pool.push(line);
    return line;
  }

  function fill(line, row) {
    line.dataset.row = row;
    line.className = files.name[row] === choice.file.value ? "selected" : "";
    const link = line.firstChild.firstChild;
    link.textContent = files.name[row];
    link.title = files.name[row];
    link.href = `#${new URLSearchParams({ file: files.name[row] })}`;
    COLUMNS.forEach((column, place) => {
      const cell = line.children[place + 1];
      const text = column.of ? column.of(files, row) : column.show(files[column.id][row]);
      cell.textContent = text;
      if (column.id === "verdict") cell.className = `verdict-${nameAt(files.verdict, row).replaceAll(" ", "-")}`;
      if (column.id === "reason") cell.title = text;
    });
  }

  function draw() {
    const view = rows.value;
    const top = Math.max(0, scroll.scrollTop - body.offsetTop);
    const printing = matchMedia("print").matches;
    const first = printing ? 0 : Math.max(0, Math.floor(top / ROW_HEIGHT) - SPARE_ROWS);
    const fits = printing ? 50 : Math.ceil(scroll.clientHeight / ROW_HEIGHT) + 2 * SPARE_ROWS;
    const last = Math.min(view.length, first + fits);
    above.style.height = `${first * ROW_HEIGHT}px`;
    below.style.height = `${printing ? 0 : (view.length - last) * ROW_HEIGHT}px`;
    while (pool.length < last - first) body.insertBefore(makeRow(), below);
    pool.forEach((line, place) => {
      line.hidden = first + place >= last;
      if (!line.hidden) {
        fill(line, view[first + place]);
        line.setAttribute("aria-rowindex", first + place + 2);
      }
    });
  }

  let waiting = false;
  const later = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  };
  scroll.addEventListener("scroll", later, { passive: true });
  addEventListener("resize", later);
  addEventListener("beforeprint", draw);
  addEventListener("afterprint", later);

  effect(() => {
    const view = rows.value;
    scroll.querySelector("table").setAttribute("aria-rowcount", view.length + 1);
    root.getElementById("files-count").textContent =
      view.length === files.count
        ? `${count(files.count)} files`
        : `${count(view.length)} of ${count(files.count)} files`;
    const columns = quantiles(files, view);
    head.replaceChildren(
      ...SHARES.map(([label], place) => {
        const line = document.createElement("tr");
        const name = document.createElement("th");
        name.scope = "row";
        name.textContent = label;
        line.append(name);
        for (const values of columns) {
          const cell = document.createElement("td");
          cell.className = "number";
          cell.textContent = values[place];
          line.append(cell);
        }
        return line;
      }),
    );
    scroll.scrollTop = 0;
    draw();
  });
  effect(() => {
    const file = choice.file.value;
    for (const line of pool) line.classList.toggle("selected", files.name[line.dataset.row] === file);
  });

  function reveal(name) {
    const place = rows.value.findIndex((row) => files.name[row] === name);
    if (place < 0) return;
    const at = body.offsetTop + place * ROW_HEIGHT;
    if (at < scroll.scrollTop + 60 || at > scroll.scrollTop + scroll.clientHeight - 60) {
      scroll.scrollTop = at - scroll.clientHeight / 2;
    }
    draw();
  }
  return { draw, reveal, scroll };
}

function bindControls(data) {
  const search = root.getElementById("files-search");
  search.addEventListener("input", () => {
    choice.query.value = search.value;
  });
  effect(() => {
    if (search.value !== choice.query.value) search.value = choice.query.value;
  });
  for (const button of document.querySelectorAll("[data-only]")) {
    button.addEventListener("click", () => {
      choice.only.value = button.dataset.only;
    });
    effect(() => button.setAttribute("aria-pressed", choice.only.value === button.dataset.only));
  }
  for (const button of document.querySelectorAll("[data-sort]")) {
    const id = button.dataset.sort;
    const falls = COLUMNS.some((column) => column.id === id && !column.of);
    button.addEventListener("click", () => {
      const first = falls ? `-${id}` : id;
      const second = falls ? id : `-${id}`;
      const now = choice.sort.value;
      choice.sort.value = now === first ? second : now === second ? "matters" : first;
    });
    effect(() => {
      const now = choice.sort.value;
      const way = now === id ? "ascending" : now === `-${id}` ? "descending" : "none";
      button.closest("th").setAttribute("aria-sort", way);
    });
  }
}
