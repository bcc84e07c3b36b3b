// Whether the notebook says that it is dark; if it says nothing, its paper is dark if what is written
// on it is light.
function isDark(element) {
  if (document.querySelector(DARK_MARKS)) return true;
  if (document.querySelector(LIGHT_MARKS)) return false;
  const parts = getComputedStyle(element).color.match(/[\d.]+/g);
  if (!parts) return false; // Not in the notebook yet.
  const [red, green, blue] = parts.map(Number);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 128;
}

function render({ model, el }) {
  const host = document.createElement("div");
  host.className = "importstats-live";
  el.append(host);
  const root = host.attachShadow({ mode: "open" });
  const style = document.createElement("style");
  style.textContent = STYLE;
  const skeleton = document.createElement("template");
  skeleton.innerHTML = SKELETON;
  root.append(style, skeleton.content);
  const tipRoom = () => host.getBoundingClientRect();
  const view = makeView(model, host, root, tipRoom);
  const dress = () => {
    const dark = isDark(el);
    if (host.classList.contains("dark") === dark) return;
    host.classList.toggle("dark", dark);
    view.redraw();
  };
  dress();
  const themes = new MutationObserver(() => requestAnimationFrame(dress));
  // A theme's style may arrive after the notebook says that it has the theme.
  const later = setInterval(dress, 1000);
  for (const element of [document.documentElement, document.body]) {
    themes.observe(element, { attributes: true });
  }
  return () => {
    themes.disconnect();
    clearInterval(later);
    view.close();
  };
}

export default { render };
