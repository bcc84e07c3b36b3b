// How old the page is, and a fresh one in its place while the job runs.
function keepPlace(table) {
  const key = `importstats:${location.pathname}`;
  const kept = JSON.parse(sessionStorage.getItem(key) ?? "null");
  // The browser would go to where the place was before the charts were drawn.
  if (Number(document.body.dataset.refresh) > 0) history.scrollRestoration = "manual";
  if (kept) {
    scrollTo(0, kept.page);
    table.scroll.scrollTop = kept.table;
  }
  const remember = () => sessionStorage.setItem(key, JSON.stringify({ page: scrollY, table: table.scroll.scrollTop }));
  return { kept: Boolean(kept), remember };
}

const OLD_S = 600;

function makeLive(data, remember) {
  const refresh = Number(document.body.dataset.refresh);
  const made = data.t0 + data.at;
  const age = root.getElementById("age");
  const asOf = age.textContent;
  const left = root.getElementById("left");
  const said = left.textContent;
  const title = document.title;
  const about = document.title.split(" · ").slice(1).join(" · ");
  let unanswered = false;

  function showAge() {
    const seconds = Math.max(0, Date.now() / 1000 - made);
    const live = refresh > 0 && !data.ended;
    const stale = live && (unanswered || seconds > 3 * refresh + 15);
    document.body.classList.toggle("stale", stale);
    const ago = `${duration(Math.round(seconds))} ago`;
    age.textContent = live ? `${stale ? "stale: " : ""}updated ${ago}` : `${asOf}, ${ago}`;
    // What was left when the page was made is not what is left now.
    const old = !live && !data.ended && data.eta && seconds > OLD_S;
    document.body.classList.toggle("old", Boolean(old));
    if (old) {
      left.textContent = `${said} when this page was made`;
      document.title = `was: ${title}`;
    }
    if (live && data.eta) {
      const text = leftText(data.eta, data.at + seconds);
      left.textContent = text;
      document.title = `${stale ? "stale: " : ""}${text.replace(/ \(.*/, "")} · ${about}`;
    }
  }
  showAge();
  setInterval(showAge, 1000);
  if (!(refresh > 0) || data.ended) return;

  async function again() {
    if (location.protocol.startsWith("http")) {
      const answer = await fetch(location.pathname, { method: "HEAD", cache: "no-store" }).catch(() => null);
      unanswered = !answer?.ok;
      if (unanswered) return;
    }
    remember();
    location.reload();
  }
  setInterval(() => {
    const busy = document.querySelector(":active") ?? getSelection().toString();
    if (document.visibilityState === "visible" && !busy) again();
  }, refresh * 1000);
}
