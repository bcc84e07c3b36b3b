// The page's data, unpacked, and what is derived of it once.
async function unpack(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const data = JSON.parse(await new Response(stream).text());
  data.files.isCulprit = new Set(data.files.culprit);
  data.files.groups = new Set(data.files.task).size;
  return data;
}

// The spans of each file: where they begin in the columns, and when its work began.
function byRow(data) {
  const { row, state, start, end } = data.spans;
  const n = data.files.count;
  const from = new Int32Array(n + 1).fill(row.length);
  const begin = new Float64Array(n).fill(Infinity);
  const stop = new Float64Array(n);
  const rows = new Int32Array(row.length);
  const waits = state.names.map((name) => ["", "none", "pending", "completed"].includes(name));
  let current = 0;
  for (let place = 0; place < row.length; place += 1) {
    current += row[place];
    rows[place] = current;
    if (from[current] > place) from[current] = place;
    if (waits[state.codes[place]]) continue;
    if (begin[current] === Infinity) begin[current] = start[place];
    stop[current] = end[place];
  }
  for (let place = n - 1; place >= 0; place -= 1) {
    if (from[place] > from[place + 1]) from[place] = from[place + 1];
  }
  return { rows, from, begin, stop, start, end, code: state.codes, names: state.names };
}

const nameAt = (column, row) => (column.codes[row] < 0 ? "" : column.names[column.codes[row]]);

function clock(data, seconds, exact = true) {
  const time = new Date((data.t0 + seconds + data.offset_s) * 1000).toISOString();
  return `${time.slice(11, exact ? 19 : 16)} ${data.zone}`;
}

function verdictText(files, row) {
  const verdict = nameAt(files.verdict, row);
  const past = nameAt(files.matters, row) === "was" && verdict !== "goes back";
  if (files.isCulprit.has(row)) return `${verdict}, to blame`;
  return past ? `was ${verdict}` : verdict;
}
