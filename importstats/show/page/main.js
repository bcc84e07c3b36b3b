// The page: its table, its timeline and its address show one choice.
const packed = atob(root.getElementById("data").textContent.trim());
const data = await unpack(Uint8Array.from(packed, (character) => character.charCodeAt(0)));
const { files } = data;
if (files.count) {
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
// The charts have their heights once they were drawn, which they are after this turn.
await null;
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
let remember = () => {};
if (files.count) {
  bindControls(data);
  const table = makeTable(data, rows);
  root.addEventListener("reveal", (event) => table.reveal(event.detail));
  const place = keepPlace(table);
  remember = place.remember;
  const follow = () => {
    if (!choice.file.value) return;
    table.reveal(choice.file.value);
    root.getElementById("files").scrollIntoView({ block: "start" });
  };
  addEventListener("hashchange", follow);
  // A link to a file opens there; a page that reloads stays where it was.
  if (choice.file.value && place.kept) table.reveal(choice.file.value);
  else follow();
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
