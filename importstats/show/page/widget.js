// A job in a notebook: its first screen and its timeline, anew whenever the kernel sends them.
const at = (id) => root.getElementById(id);
let close = () => {};
let data = null;
let made = 0;
let turn = 0;

function written(tag, text, className = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  element.className = className;
  return element;
}

function look(background) {
  const box = document.createElement("i");
  box.style.background = background;
  return box;
}

function showStrip() {
  const { strip } = data.first;
  at("strip").replaceChildren(
    ...strip.map((part) => {
      const bar = look(part.look);
      bar.title = part.text ? `${part.name}: ${part.text}` : part.name;
      bar.style.flex = `${part.grow} 1 0`;
      return bar;
    }),
  );
  at("phases").replaceChildren(
    ...strip.map((part) => {
      const item = written("li", `${part.name} `);
      item.prepend(look(part.look));
      item.append(written("small", part.text));
      return item;
    }),
  );
}

function showLooks() {
  const [first, ...more] = data.first.looks;
  const line = written("p", "");
  line.append(written("strong", "Look at first: "), first.text);
  const list = written("ul", "");
  list.append(...more.map((look) => written("li", look.text)));
  at("verdict").className = `verdict ${first.severity}`;
  at("verdict").replaceChildren(line, ...(more.length ? [list] : []));
}

function showLegend() {
  at("legend").replaceChildren(
    ...Object.entries(data.first.states).map(([name, background]) => {
      const item = written("li", name);
      item.prepend(look(background));
      return item;
    }),
  );
}

function showAge() {
  if (!data) return;
  const seconds = Math.max(0, Date.now() / 1000 - made);
  const live = model.get("running") && !data.ended;
  const stale = live && seconds > 3 * data.refresh_s + 15;
  const left = live && data.eta ? leftText(data.eta, data.at + seconds) : data.first.line;
  at("left").textContent = data.first.cause ? `${left}: ${data.first.cause}` : left;
  at("age").textContent = live
    ? `${stale ? "stale: " : ""}updated ${duration(Math.round(seconds))} ago`
    : `as of ${clock(data, data.at)}${data.ended ? "" : ", not kept up to date any more"}`;
  root.querySelector(".view").classList.toggle("stale", stale);
}

function showProblem() {
  at("problem").textContent = model.get("problem");
  at("problem").hidden = !model.get("problem");
}

function showChosen() {
  const row = data?.files.count ? data.files.name.indexOf(choice.file.value) : -1;
  at("chosen").hidden = row < 0;
  if (row >= 0) at("chosen").textContent = fileLines(data, row).map(([text]) => text).join(" · ");
}

async function show() {
  turn += 1;
  const mine = turn;
  const bytes = model.get("page");
  if (!bytes?.byteLength) {
    at("left").textContent = "waiting for the first snapshot …";
    return;
  }
  const fresh = await unpack(bytes);
  if (mine !== turn) return;
  close();
  data = fresh;
  at("name").textContent = data.first.name;
  at("sub").textContent = data.first.sub;
  showStrip();
  showLooks();
  showLegend();
  at("timeline").hidden = false;
  at("files").hidden = !data.files.count;
  at("progress-title").textContent =
    `Progress in percent as the server sent it, on the phases${data.eta ? "; the grey cone leads to the end, 80 % sure" : ""}`;
  const every = signal(Array.from({ length: data.files.count }, (_, row) => row));
  close = makeTimeline(data, byRow(data), every);
  showAge();
  showChosen();
}

function receive() {
  // What has just come was made just now, whatever the clocks of the two machines say.
  show().then(() => {
    made = Date.now() / 1000;
    showAge();
  });
}

const endChoice = effect(() => {
  const file = choice.file.value;
  showChosen();
  if (model.get("selected") === file) return;
  model.set("selected", file);
  model.save_changes();
});
model.on("change:page", receive);
model.on("change:problem", showProblem);
model.on("change:running", showAge);
showProblem();
show().then(() => {
  if (data && !made) made = data.t0 + data.at;
  showAge();
});
const clockwork = setInterval(showAge, 1000);
return {
  redraw,
  close: () => {
    clearInterval(clockwork);
    model.off("change:page", receive);
    model.off("change:problem", showProblem);
    model.off("change:running", showAge);
    endChoice();
    close();
  },
};
