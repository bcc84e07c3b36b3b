// What the reader chose.
const { signal, computed, effect, batch } = preactSignalsCore;
const choice = {
  file: signal(""),
  sort: signal("matters"),
  query: signal(""),
  only: signal("all"),
  zoom: signal(null),
};
