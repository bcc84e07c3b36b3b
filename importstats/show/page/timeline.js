// Phases, throughput and files on one time axis.
let charts = [];
// The crosshair is shared by the charts of one job.
const TOGETHER = `importstats-${Math.random()}`;
const AXIS_WIDTH = 64;

function paper() {
  const style = getComputedStyle(host);
  const of = (name) => style.getPropertyValue(name).trim();
  return { ink: of("--ink"), soft: of("--soft"), line: of("--line"), paper: of("--paper"), blue: of("--blue") };
}

// The strokes of a tile of 8 by 8, by the first letter of a hatch as figures write it.
const STROKES = {
  "/": [[-2, 6, 6, -2], [2, 10, 10, 2]],
  "\\": [[-2, 2, 6, 10], [2, -2, 10, 6]],
  x: [[-2, 6, 6, -2], [2, 10, 10, 2], [-2, 2, 6, 10], [2, -2, 10, 6]],
  "-": [[0, 4, 8, 4]],
  "|": [[4, 0, 4, 8]],
  "+": [[0, 4, 8, 4], [4, 0, 4, 8]],
  ".": [[3, 4, 5, 4]],
  o: [[2, 2, 6, 2], [6, 2, 6, 6], [6, 6, 2, 6], [2, 6, 2, 2]],
  O: [[1, 1, 7, 1], [7, 1, 7, 7], [7, 7, 1, 7], [1, 7, 1, 1]],
  "*": [[1, 4, 7, 4], [2, 2, 6, 6], [2, 6, 6, 2]],
};

function hatch(context, color, code = "/") {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 8;
  const pen = tile.getContext("2d");
  pen.strokeStyle = color;
  pen.lineWidth = code[0] === "." ? 2 : 1;
  for (const [x, y, toX, toY] of STROKES[code[0]] ?? []) {
    pen.beginPath();
    pen.moveTo(x, y);
    pen.lineTo(toX, toY);
    pen.stroke();
  }
  return context.createPattern(tile, "repeat");
}

function clipped(u, draw) {
  const { ctx } = u;
  const { left, top, width, height } = u.bbox;
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  draw(ctx, left, top, width, height);
  ctx.restore();
}

const across = (u, seconds) => u.valToPos(seconds, "x", true);

// Nobody looked: what lies there is not known.
function drawGaps(u, data) {
  clipped(u, (ctx, left, top, width, height) => {
    const colors = paper();
    for (const [start, end] of data.gaps) {
      const x = across(u, start);
      ctx.globalAlpha = 0.85;
      ctx.fillStyle = colors.paper;
      ctx.fillRect(x, top, across(u, end) - x, height);
      ctx.globalAlpha = 1;
      ctx.fillStyle = hatch(ctx, colors.soft);
      ctx.fillRect(x, top, across(u, end) - x, height);
    }
    if (!data.ended) {
      ctx.strokeStyle = colors.soft;
      ctx.setLineDash([3, 3]);
      ctx.beginPath();
      ctx.moveTo(across(u, data.at), top);
      ctx.lineTo(across(u, data.at), top + height);
      ctx.stroke();
    }
  });
}

function drawPhases(u, data) {
  clipped(u, (ctx, left, top, width, height) => {
    const scale = devicePixelRatio;
    ctx.font = `${12 * scale}px system-ui, sans-serif`;
    ctx.textBaseline = "top";
    ctx.textAlign = "left";
    const last = data.progress.t.at(-1) ?? 0;
    for (const [name, start, end] of data.phases) {
      const x = across(u, start);
      const wide = Math.max(across(u, end ?? Math.max(last, start)) - x, 2 * scale);
      ctx.fillStyle = data.colors.phase[name] ?? data.colors.other;
      ctx.globalAlpha = 0.15;
      ctx.fillRect(x, top, wide, height);
      const lines = data.hatches.phase[name];
      if (lines) {
        ctx.globalAlpha = 0.3;
        ctx.fillStyle = hatch(ctx, ctx.fillStyle, lines);
        ctx.fillRect(x, top, wide, height);
      }
      ctx.globalAlpha = 1;
      ctx.fillStyle = data.colors.phase[name] ?? data.colors.other;
      ctx.fillRect(x, top, wide, 4 * scale);
      namePhase(ctx, name, Math.max(x, left), top, wide, height, data);
    }
  });
}

// A phase's name in its band, upright if that is narrow, where the line of progress is not.
function namePhase(ctx, name, x, top, wide, height, data) {
  const scale = devicePixelRatio;
  const long = ctx.measureText(name).width;
  const phases = Object.keys(data.hatches.phase);
  const early = phases.indexOf(name) <= phases.indexOf("Importing");
  ctx.fillStyle = paper().ink;
  if (long + 8 * scale < wide) {
    ctx.fillText(name, x + 4 * scale, early ? top + 8 * scale : top + height - 16 * scale);
  } else if (wide > 14 * scale && long + 12 * scale < height) {
    ctx.save();
    ctx.translate(x + wide / 2 - 6 * scale, early ? top + 8 * scale + long : top + height - 4 * scale);
    ctx.rotate(-Math.PI / 2);
    ctx.fillText(name, 0, 0);
    ctx.restore();
  }
}

function drawCone(u, data) {
  const known = data.progress.pct.filter((value) => value !== null);
  if (!data.eta || !known.length) return;
  clipped(u, (ctx, left, top, width) => {
    const now = across(u, data.progress.t.at(-1));
    const level = u.valToPos(known.at(-1), "y", true);
    const done = u.valToPos(100, "y", true);
    const [low, middle, high] = data.eta.map((end) => (end === null ? NaN : across(u, end)));
    ctx.fillStyle = ctx.strokeStyle = paper().ink;
    ctx.globalAlpha = 0.16;
    ctx.beginPath();
    ctx.moveTo(now, level);
    ctx.lineTo(low, done);
    ctx.lineTo(high, done);
    ctx.fill();
    // The cone is pale: its ends, which alone are predicted, are not.
    ctx.globalAlpha = 0.6;
    const bar = 4 * devicePixelRatio;
    ctx.fillRect(low, done - bar / 2, high - low, bar);
    ctx.globalAlpha = 1;
    ctx.setLineDash([5, 4]);
    ctx.beginPath();
    ctx.moveTo(now, level);
    ctx.lineTo(middle, done);
    ctx.stroke();
    ctx.setLineDash([]);
    markEnd(ctx, data, [now, level], [middle, done], left + width);
  });
}

// A dot where the job is to end, or an arrow at the edge towards it, and when that is.
function markEnd(ctx, data, [now, level], [middle, done], edge) {
  const scale = devicePixelRatio;
  const inside = middle <= edge;
  if (!(middle > now) || now >= edge) return;
  const colors = paper();
  // As exact as it is near.
  const time = clock(data, data.eta[1]).slice(0, data.eta[1] - data.at < 600 ? 8 : 5);
  const text = inside ? time : `${time} →`;
  const x = inside ? middle : edge - 4 * scale;
  const y = inside ? done : level + ((done - level) * (x - now)) / (middle - now);
  ctx.fillStyle = colors.ink;
  ctx.beginPath();
  if (inside) {
    ctx.arc(x, y, 3.5 * scale, 0, 2 * Math.PI);
  } else {
    ctx.moveTo(x + 4 * scale, y);
    ctx.lineTo(x - 4 * scale, y - 4 * scale);
    ctx.lineTo(x - 4 * scale, y + 4 * scale);
  }
  ctx.fill();
  ctx.font = `${12 * scale}px system-ui, sans-serif`;
  ctx.textBaseline = "top";
  ctx.textAlign = "left";
  ctx.strokeStyle = colors.paper;
  ctx.lineWidth = 3 * scale;
  const place = [Math.min(x + 4 * scale, edge - ctx.measureText(text).width - 2 * scale), y + 7 * scale];
  ctx.strokeText(text, ...place);
  ctx.fillText(text, ...place);
}

// A failed job says that its progress is 0: it keeps what it was last seen with, and a cross.
function failure(data) {
  const [phase, start] = data.phases.at(-1) ?? [];
  const level = data.progress.pct.findLast(known) ?? 0;
  return phase === "Failed" ? [start, level] : null;
}

function untilFailure(data) {
  const end = failure(data);
  const { t, pct } = data.progress;
  return end ? [[...t, end[0]], [...pct, end[1]]] : [t, pct];
}

function drawFailure(u, data) {
  const end = failure(data);
  if (!end) return;
  const [x, y, size] = [across(u, end[0]), u.valToPos(end[1], "y", true), 6 * devicePixelRatio];
  clipped(u, (ctx) => {
    ctx.strokeStyle = data.colors.phase.Failed;
    ctx.lineWidth = 3 * devicePixelRatio;
    ctx.beginPath();
    ctx.moveTo(x - size, y - size);
    ctx.lineTo(x + size, y + size);
    ctx.moveTo(x - size, y + size);
    ctx.lineTo(x + size, y - size);
    ctx.stroke();
  });
}

const THIN = { "": 0.25, none: 0.25, pending: 0.25, completed: 0.12 };
// What is drawn later covers what is drawn before, where many files share a line of the screen.
const LAYERS = ["completed", "", "none", "pending"];

// The lines among files that are done are so far from each other, in pixels of CSS.
const DONE_APART = 12;

// Where the lines of files lie: those that matter now have lines that can be read, whatever the others.
const LEAST = 14;

function layout(files, lines, height) {
  const tall = height / Math.max(lines.length, 1);
  const least = LEAST * devicePixelRatio;
  let urgent = 0;
  if (tall < 4 * devicePixelRatio) {
    while (urgent < MOST_URGENT && urgent < lines.length && isUrgent(files, lines[urgent])) urgent += 1;
  }
  const rest = (height - urgent * least) / Math.max(lines.length - urgent, 1);
  return {
    urgent,
    rest,
    tall: (line) => (line < urgent ? least : rest),
    middle: (line) => (line < urgent ? (line + 0.5) * least : urgent * least + (line - urgent + 0.5) * rest),
    at: (y) => Math.floor(y < urgent * least ? y / least : urgent + (y - urgent * least) / rest),
  };
}

const MOST_URGENT = 12;
const isUrgent = (files, row) => ["failed", "now"].includes(nameAt(files.matters, row)) || costly(files, row);

// A file that was late and cost the job time: a minute or more.
const costly = (files, row) => nameAt(files.matters, row) === "was" && files.delay_s[row] >= 60;

// A name without the folder that all files are in, cut at its front, where names are alike.
const MOST_NAME = 40;
function shortName(name, folder, most) {
  const own = name.slice(folder.length);
  return own.length > most ? `…${own.slice(1 - most)}` : own;
}

function commonFolder(names) {
  let folder = (names[0] ?? "").split("/").slice(0, -1);
  for (const name of names) {
    const parts = name.split("/");
    const same = folder.findIndex((part, place) => part !== parts[place] || place >= parts.length - 1);
    if (same >= 0) folder = folder.slice(0, same);
    if (!folder.length) return "";
  }
  return `${folder.join("/")}/`;
}

function drawFiles(u, data, spans, shown) {
  const { files, colors } = data;
  const lines = shown.value;
  clipped(u, (ctx, left, top, width, height) => {
    const lies = layout(files, lines, height);
    const place = new Int32Array(files.count).fill(-1);
    lines.forEach((row, line) => {
      place[row] = line;
    });
    const from = u.scales.x.min;
    const to = u.scales.x.max;
    const pixel = (seconds) => left + ((seconds - from) / (to - from)) * width;
    const layer = (code) => LAYERS.indexOf(spans.names[code]);
    const codes = spans.names.map((_, code) => code).sort((a, b) => (layer(a) + 99) % 100 - (layer(b) + 99) % 100);
    const thin = spans.names.map((name) => THIN[name] ?? 0.8);
    for (const code of [...codes.filter((c) => layer(c) >= 0), ...codes.filter((c) => layer(c) < 0)]) {
      const name = spans.names[code];
      const waits = thin[code] < 0.3;
      const color = colors.state[name] ?? colors.other;
      const lined = waits ? null : hatch(ctx, paper().paper, data.hatches.state[name] ?? ".");
      // Of thousands that wait stripes are drawn; those that are done are pale, with a line here and there.
      const stripe = Math.max(1, Math.ceil(devicePixelRatio / lies.rest));
      const apart = stripe * Math.max(3, Math.round((DONE_APART * devicePixelRatio) / (stripe * lies.rest)));
      for (let span = 0; span < spans.rows.length; span += 1) {
        const line = place[spans.rows[span]];
        if (spans.code[span] !== code || line < 0) continue;
        if (spans.end[span] < from || spans.start[span] > to) continue;
        const tall = lies.tall(line);
        const low = tall < 3 && waits;
        if (low && name !== "completed" && line % (4 * stripe) >= stripe) continue;
        if (low && name === "completed" && line % stripe) continue;
        const bar = Math.max(Math.min(tall * thin[code], 22 * devicePixelRatio * thin[code]), 1);
        const pale = low && name === "completed" && line % apart;
        ctx.globalAlpha = pale ? 0.3 : 1;
        ctx.fillStyle = color;
        const x = pixel(spans.start[span]);
        const y = top + lies.middle(line) - bar / 2;
        // A thin line between two lines of the screen would be drawn on both, and half as strong.
        const box = [x, waits && !pale ? Math.round(y) : y, Math.max(pixel(spans.end[span]) - x, 1), bar];
        ctx.fillRect(...box);
        if (lined && bar >= 3) {
          ctx.fillStyle = lined;
          ctx.fillRect(...box);
        }
      }
    }
    ctx.globalAlpha = 1;
    if (data.files.groups < lines.length / 2 && !lies.urgent) drawTaskLines(ctx, data, lines, left, top, width, lies.rest);
    drawMarks(u, data, spans, lines, (line) => top + lies.middle(line), pixel, lies.tall, left + width);
  });
}

// A line of paper between two tasks, as long as these are not too many to be seen apart.
function drawTaskLines(ctx, data, lines, left, top, width, tall) {
  if ((tall * lines.length) / data.files.groups < 4 * devicePixelRatio) return;
  ctx.fillStyle = paper().paper;
  for (let line = 1; line < lines.length; line += 1) {
    if (data.files.task[lines[line]] === data.files.task[lines[line - 1]]) continue;
    ctx.fillRect(left, top + line * tall - devicePixelRatio / 2, width, devicePixelRatio);
  }
}

// A diamond at the end of each file that matters, its name where there is room, and the choice.
function drawMarks(u, data, spans, lines, middle, pixel, tallOf, edge) {
  const { ctx } = u;
  const { files, colors } = data;
  const scale = devicePixelRatio;
  const { ink, paper: ground } = paper();
  ctx.textAlign = "left";
  ctx.lineJoin = "round";
  ctx.font = `${11 * scale}px system-ui, sans-serif`;
  ctx.textBaseline = "middle";
  lines.forEach((row, line) => {
    const tall = tallOf(line);
    const chosen = files.name[row] === choice.file.value;
    const matters = nameAt(files.matters, row);
    const end = pixel(spans.end[spans.from[row + 1] - 1] ?? 0);
    if (chosen) {
      ctx.strokeStyle = ink;
      ctx.lineWidth = 2 * scale;
      const bar = Math.max(tall, 8 * scale);
      ctx.strokeRect(-9, middle(line) - bar / 2, 1e5, bar);
    }
    if (isUrgent(files, row) || (matters === "was" && tall > 4)) {
      const size = 4 * scale;
      ctx.fillStyle = colors.verdict[nameAt(files.verdict, row)] ?? colors.other;
      ctx.beginPath();
      const stop = matters === "was" ? pixel(spans.stop[row]) : end;
      ctx.moveTo(stop - size, middle(line));
      ctx.lineTo(stop, middle(line) - size);
      ctx.lineTo(stop + size, middle(line));
      ctx.lineTo(stop, middle(line) + size);
      ctx.fill();
    }
    // Those that matter have their names where lines are about as high as letters.
    if (tall >= 13 * scale || chosen || (isUrgent(files, row) && tall >= 9 * scale)) {
      const short = shortName(files.name[row], files.folder, Math.min(MOST_NAME, Math.floor(u.bbox.width / (12 * scale))));
      const text = `${short}${matters === "no" ? "" : `  ${verdictText(files, row)}`}`;
      // Where there is no room beside the bar the name lies on it, on paper of its own.
      const x = Math.min(end + 8 * scale, edge - ctx.measureText(text).width - 4 * scale);
      ctx.fillStyle = ground;
      ctx.fillRect(x - 3 * scale, middle(line) - 7 * scale, ctx.measureText(text).width + 6 * scale, 14 * scale);
      ctx.fillStyle = ink;
      ctx.fillText(text, x, middle(line));
    }
  });
}

const wide = (holder) => Math.max(holder.clientWidth, 200);

function chart(id, data, options) {
  const holder = root.getElementById(id);
  const u = new uPlot(
    {
      width: wide(holder),
      height: options.height,
      legend: { show: false },
      scales: { x: { time: true, auto: false }, y: options.y },
      cursor: {
        y: false,
        points: { show: false },
        drag: { x: true, y: false, setScale: false },
        sync: { key: TOGETHER, filters: { pub: (type) => type === "mousemove" || type === "mouseleave" } },
        bind: { dblclick: () => () => { choice.zoom.value = null; } },
      },
      axes: [
        {
          stroke: () => paper().soft,
          grid: { stroke: () => paper().line, width: 1 },
          ticks: { stroke: () => paper().line, width: 1 },
          values: (_, splits, axis, space, step) => splits.map((at) => clock(data, at, step < 60).slice(0, step < 60 ? 8 : 5)),
          splits: timeSplits,
          size: 34,
        },
        {
          stroke: () => paper().soft,
          grid: { show: !options.bare, stroke: () => paper().line, width: 1 },
          ticks: { show: !options.bare, stroke: () => paper().line, width: 1 },
          size: AXIS_WIDTH,
          space: 22,
          values: options.values,
        },
      ],
      series: [{}, ...options.series],
      hooks: {
        drawClear: options.before ? [(self) => options.before(self, data)] : [],
        draw: [...(options.after ?? []).map((draw) => (self) => draw(self, data)), (self) => drawGaps(self, data)],
        setSelect: [
          (self) => {
            if (self.select.width < 4) return;
            const [from, to] = [self.select.left, self.select.left + self.select.width].map((x) => self.posToVal(x, "x"));
            self.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
            choice.zoom.value = [from, to];
          },
        ],
      },
    },
    options.data,
    holder,
  );
  u.over.addEventListener("mousemove", (event) => options.hover(u, event));
  u.over.addEventListener("mouseleave", hideTip);
  charts.push({ u, holder, height: options.height });
  return u;
}

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800];

function timeSplits(u, axis, min, max) {
  const room = Math.max(2, u.bbox.width / devicePixelRatio / 90);
  const step = STEPS.find((one) => (max - min) / one <= room) ?? STEPS.at(-1);
  const splits = [];
  for (let at = Math.ceil(min / step) * step; at <= max; at += step) splits.push(at);
  return splits;
}

function showTip(event, lines) {
  const tip = root.getElementById("tip");
  tip.replaceChildren(
    ...lines.map(([text, strong]) => {
      const line = document.createElement(strong ? "strong" : "span");
      line.textContent = text;
      return line;
    }),
  );
  tip.hidden = false;
  const { left, top, right, bottom } = tipRoom();
  const [x, y] = [event.clientX - left, event.clientY - top];
  const turned = x + tip.offsetWidth + 24 > right - left;
  tip.style.left = `${Math.max(0, turned ? x - tip.offsetWidth - 14 : x + 14)}px`;
  tip.style.top = `${Math.min(y + 14, bottom - top - tip.offsetHeight - 8)}px`;
}

function hideTip() {
  root.getElementById("tip").hidden = true;
}

// The last value at or before a time.
function valueAt(times, values, at) {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= at) low = middle + 1;
    else high = middle;
  }
  return low ? values[low - 1] : null;
}

function jobLines(data, at) {
  const phase = data.phases.findLast(([, start]) => start <= at);
  const lines = [[clock(data, at), true]];
  if (data.gaps.some(([start, end]) => at > start && at < end)) return [...lines, ["nobody looked: not known"]];
  if (at > data.at) return [...lines, ["not yet"]];
  if (phase) lines.push([`${phase[0]}, ${percent(valueAt(data.progress.t, data.progress.pct, at))}`]);
  const rows = valueAt(data.progress.t, data.progress.rows, at);
  if (known(rows)) lines.push([`${count(rows)} rows`]);
  const place = data.rates.t.findIndex((time) => time >= at);
  if (place > 0) lines.push([rate(data.rates.rows[place])]);
  return lines;
}

function fileLines(data, row) {
  const { files } = data;
  const lines = [
    [files.name[row], true],
    [`${nameAt(files.raw_state, row)}, ${verdictText(files, row)}`],
    [`${count(files.imported_rows[row])} of ${count(files.total_rows[row])} rows, ${bytes(files.file_size_bytes[row])}`],
  ];
  const together = files.task.filter((group) => group === files.task[row]).length;
  if (together > 1) lines.push([`taken for one task with ${count(together - 1)} other${together === 2 ? "" : "s"}`]);
  if (known(files.run_s[row])) lines.push([`ran ${duration(files.run_s[row])}${known(files.rows_per_s[row]) ? `, ${rate(files.rows_per_s[row])}` : ""}`]);
  if (known(files.wait_s[row])) lines.push([`waited ${duration(files.wait_s[row])}`]);
  if (files.retries[row] > 0) lines.push([`went back ${files.retries[row] === 1 ? "once" : `${count(files.retries[row])} times`}`]);
  if (known(files.idle_s[row])) lines.push([`idle for ${duration(files.idle_s[row])}`]);
  if (nameAt(files.matters, row) !== "no") lines.push([`delays the end by ${delay(files.delay_s[row])}`]);
  if (nameAt(files.reason, row)) lines.push([nameAt(files.reason, row)]);
  return lines;
}

// Draws the charts; gives what takes them away again.
function makeTimeline(data, spans, rows) {
  const undo = [];
  const full = fullRange(data);
  const broken = (times, values) => {
    const joined = times.map((time, place) => [time, values[place]]);
    for (const [start] of data.gaps) joined.push([start + 0.001, null]);
    joined.sort((a, b) => a[0] - b[0]);
    return [joined.map((pair) => pair[0]), joined.map((pair) => pair[1])];
  };
  const line = (color) => ({ stroke: color, width: 2, points: { show: false } });
  const hover = (u, event) => showTip(event, jobLines(data, u.posToVal(event.offsetX, "x")));
  chart("chart-progress", data, {
    height: 210,
    y: { range: [0, 104] },
    values: (_, splits) => splits.map((value) => (value > 100 ? "" : `${value} %`)),
    series: [{ ...line(() => paper().ink), paths: uPlot.paths.stepped({ align: 1 }) }],
    data: broken(...untilFailure(data)),
    before: drawPhases,
    after: [drawCone, drawFailure],
    hover,
  });
  root.getElementById("rates").hidden = !data.rates.rows.some((value) => value > 0);
  if (!root.getElementById("rates").hidden) {
    chart("chart-rates", data, {
      height: 150,
      y: { range: (_, low, high) => [0, high * 1.08 || 1] },
      values: (_, splits) => splits.map((value) => prefixed(value).trimEnd()),
      series: [{ ...line(() => paper().blue), fill: () => `${paper().blue}33` }],
      data: broken(data.rates.t, data.rates.rows),
      hover,
    });
  }
  if (data.files.count) undo.push(makeFileChart(data, spans, rows));
  undo.push(effect(() => {
    const [min, max] = choice.zoom.value ?? full;
    for (const { u } of charts) u.setScale("x", { min, max });
    root.getElementById("zoom-out").hidden = !choice.zoom.value;
  }));
  root.getElementById("zoom-out").onclick = () => {
    choice.zoom.value = null;
  };
  const fit = () => {
    for (const { u, holder, height } of charts) {
      if (u.width !== wide(holder)) u.setSize({ width: wide(holder), height });
    }
  };
  const watched = new ResizeObserver(fit);
  for (const { holder } of charts) watched.observe(holder);
  for (const name of ["beforeprint", "afterprint"]) addEventListener(name, fit);
  return () => {
    watched.disconnect();
    for (const name of ["beforeprint", "afterprint"]) removeEventListener(name, fit);
    for (const end of undo) end();
    for (const { u } of charts) u.destroy();
    charts = [];
    hideTip();
  };
}

const redraw = () => charts.forEach(({ u }) => u.redraw(false, true));

const WORDS = { "": "waiting", none: "waiting", pending: "waiting", inprogress: "importing", completed: "done" };

// How many files there are in each state, and for how long the oldest has been at work since it
// was handed over last.
function stateCounts(data, spans) {
  const { files } = data;
  const counts = new Map();
  let oldest = Infinity;
  files.name.forEach((_, row) => {
    const state = nameAt(files.state, row);
    const word = WORDS[state] ?? state;
    counts.set(word, (counts.get(word) ?? 0) + 1);
    if (state === "inprogress") oldest = Math.min(oldest, spans.start[spans.from[row + 1] - 1]);
  });
  const parts = [...counts].sort((a, b) => b[1] - a[1]).map(([word, number]) => {
    const age = word === "importing" && data.last - oldest >= 1 && !data.ended;
    const text = `${count(number)} ${word}`;
    return age ? `${text} (${number > 1 ? "the oldest " : ""}for ${duration(data.last - oldest)})` : text;
  });
  return `${files.count === 1 ? "1 file" : `${count(files.count)} files`}: ${parts.join(", ")}`.replace(/: ([^:]*)$/, ", $1");
}

const MOST_HEIGHT = 460;
const filesHeight = (count) => Math.min(MOST_HEIGHT, Math.max(110, 44 + 17 * count));

function makeFileChart(data, spans, rows) {
  const { task } = data.files;
  const begin = new Float64Array(data.files.groups).fill(Infinity);
  task.forEach((group, row) => {
    begin[group] = Math.min(begin[group], spans.begin[row]);
  });
  const apart = (a, b) => (a === b ? 0 : a - b);
  const { files } = data;
  files.folder = files.count > 1 ? commonFolder(files.name) : "";
  const crowd = files.count > 100;
  const urgent = files.name.map((_, row) => (crowd && isUrgent(files, row) ? 0 : 1));
  // A file at work ends nowhere yet.
  const stop = files.name.map((_, row) => (nameAt(files.state, row) === "completed" ? spans.stop[row] : Infinity));
  // Of many those that matter now lie on top, in the order of the table; the files of a task lie
  // together; and of those that began together the first to end lies first.
  const shown = computed(() =>
    [...rows.value].sort(
      (a, b) =>
        urgent[a] - urgent[b] ||
        (urgent[a] ? 0 : a - b) ||
        apart(begin[task[a]], begin[task[b]]) ||
        (crowd ? apart(stop[a], stop[b]) : 0) ||
        task[a] - task[b] ||
        apart(spans.begin[a], spans.begin[b]) ||
        a - b,
    ),
  );
  const many = data.files.groups < data.files.count;
  const marked = files.name.some((_, row) => isUrgent(files, row) || (!crowd && nameAt(files.matters, row) === "was"));
  root.getElementById("files-title").textContent =
    `${stateCounts(data, spans)}: by start${many ? ", those taken for one task together" : ""}` +
    (marked ? `; a diamond marks those that matter${crowd ? ", late ones on top" : ""}` : "");
  const tall = filesHeight(files.count);
  const lineAt = (u, event) => {
    const scale = devicePixelRatio;
    return shown.value[layout(files, shown.value, u.over.clientHeight * scale).at(event.offsetY * scale)];
  };
  const u = chart("chart-files", data, {
    height: tall,
    y: { range: [0, 1] },
    bare: true,
    values: () => [],
    series: [{ show: false }],
    data: [[0, 1], [null, null]],
    after: [(self) => drawFiles(self, data, spans, shown)],
    hover: (self, event) => {
      const row = lineAt(self, event);
      if (row === undefined) return hideTip();
      return showTip(event, [...fileLines(data, row), [clock(data, self.posToVal(event.offsetX, "x"))]]);
    },
  });
  let pressed = null;
  u.over.addEventListener("mousedown", (event) => {
    pressed = [event.offsetX, event.offsetY];
  });
  u.over.addEventListener("mouseup", (event) => {
    const row = lineAt(u, event);
    if (!pressed || row === undefined || Math.abs(event.offsetX - pressed[0]) > 3) return;
    choice.file.value = data.files.name[row];
    root.dispatchEvent(new CustomEvent("reveal", { detail: data.files.name[row] }));
  });
  return effect(() => {
    shown.value;
    choice.file.value;
    u.redraw(false, false);
  });
}

// From the first snapshot to now, and on to the end as far as it does not press that to the side;
// of a job that has ended there is room for the names of its files, if each has a line for its own.
function fullRange(data) {
  const last = Math.max(data.last, 1);
  if (data.ended && data.files.count > 0 && filesHeight(data.files.count) < MOST_HEIGHT) return [-0.01 * last, 1.25 * last];
  let right = data.ended ? last : Math.max(last, Math.min(data.at, 2 * last));
  if (data.eta) right = Math.max(right, Math.min(data.eta[2] ?? data.eta[1], 2 * right));
  return [-0.01 * right, 1.03 * right];
}
