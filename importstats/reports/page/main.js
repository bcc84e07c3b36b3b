const data = await unpack("data");
const { files } = data;
if (files.count) {
  files.isCulprit = new Set(files.culprit);
  files.search = files.name.map((name, row) =>
    `${name} ${nameAt(files.raw_state, row)} ${nameAt(files.verdict, row)} ${nameAt(files.reason, row)}`.toLowerCase(),
  );
}
readAddress();
addEventListener("hashchange", readAddress);
document.documentElement.classList.add("script");
const rows = computed(() =>
  files.count ? chosenRows(files, choice.query.value, choice.only.value, choice.sort.value) : [],
);
const spans = byRow(data);
makeTimeline(data, spans, rows);
let remember = () => {};
if (files.count) {
  bindControls(data);
  const table = makeTable(data, rows);
  document.addEventListener("reveal", (event) => table.reveal(event.detail));
  remember = keepPlace(table);
  const follow = () => {
    if (!choice.file.value) return;
    table.reveal(choice.file.value);
    document.getElementById("files").scrollIntoView({ block: "start" });
  };
  addEventListener("hashchange", follow);
  if (choice.file.value) table.reveal(choice.file.value);
}
addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  batch(() => {
    choice.file.value = "";
    choice.zoom.value = null;
  });
});
effect(writeAddress);
makeLive(data, remember);
document.documentElement.classList.add("ready");
