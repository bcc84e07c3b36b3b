// What the reader chose lives in the address, so that a link and a reload keep it.
function readAddress() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const from = Number.parseFloat(asked.get("from"));
  const to = Number.parseFloat(asked.get("to"));
  batch(() => {
    choice.file.value = asked.get("file") ?? "";
    choice.sort.value = asked.get("sort") ?? "matters";
    choice.query.value = asked.get("q") ?? "";
    choice.only.value = asked.get("only") ?? "all";
    choice.zoom.value = to > from ? [from, to] : null;
  });
}

function writeAddress() {
  const asked = new URLSearchParams();
  if (choice.file.value) asked.set("file", choice.file.value);
  if (choice.sort.value !== "matters") asked.set("sort", choice.sort.value);
  if (choice.query.value) asked.set("q", choice.query.value);
  if (choice.only.value !== "all") asked.set("only", choice.only.value);
  if (choice.zoom.value) {
    asked.set("from", choice.zoom.value[0].toFixed(1));
    asked.set("to", choice.zoom.value[1].toFixed(1));
  }
  const hash = asked.toString();
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
}
