// New activity without a reload: asks every few seconds what differs from what the page shows. Rows that are shown are brought up to date where
// they stand; new ones are announced ("3 new") and never push the list away. Nothing is asked while the tab is hidden.
(() => {
  "use strict";

  const site = window.sessionsite;
  const EVERY = 3_000; // ms; with the answer, new activity is there within 5 s
  const SLOWEST = 60_000;
  const byId = (id) => document.getElementById(id);
  const source = () => byId("live-list") ?? byId("live");

  let wait = EVERY;
  let timer = 0;
  let request = null;
  let failures = 0;
  let isOver = false;
  let arrived = new Set();
  let arrivedOn = null;

  const plan = (after) => {
    clearTimeout(timer);
    if (!isOver && !document.hidden && source()) timer = setTimeout(ask, after);
  };

  const ask = async () => {
    const from = source();
    if (!from || request || document.hidden) return;
    const began = performance.now();
    request = new AbortController();
    const stop = setTimeout(() => request?.abort(), 20_000);
    try {
      const response = await fetch(from.dataset.url, {
        headers: { "HX-Request": "true", "HX-Current-URL": location.href, "Live-Token": from.dataset.token ?? "" },
        cache: "no-store",
        signal: request.signal,
      });
      if (response.headers.has("HX-Redirect")) {
        isOver = true;
        site.say("You are signed out.", { href: response.headers.get("HX-Redirect"), words: "Sign in" });
        return;
      }
      if (!response.ok) throw new Error(String(response.status));
      const html = response.status === 204 ? "" : await response.text();
      const token = response.headers.get("Live-Token");
      // the list may have been swapped meanwhile: then the answer is of what is gone
      if (token && from === source()) {
        from.dataset.token = token;
        if (html) show(new DOMParser().parseFromString(html, "text/html"), from);
        const tail = byId("tail");
        if (tail) window.htmx?.trigger(tail, "tail");
      }
      failures = 0;
      // a slow site is asked less often
      wait = Math.min(Math.max(EVERY, 4 * (performance.now() - began)), SLOWEST / 2);
    } catch {
      failures += 1;
      wait = Math.min(EVERY * 2 ** failures, SLOWEST);
    } finally {
      clearTimeout(stop);
      request = null;
      plan(wait);
    }
  };

  const show = (fresh, from) => {
    for (const row of fresh.querySelectorAll(".session-row")) refresh(row);
    if (arrivedOn !== from) [arrived, arrivedOn] = [new Set(), from];
    for (const row of fresh.querySelectorAll("[data-arrived] > .session-row")) if (!byId(row.id)) arrived.add(row.id);
    for (const id of arrived) if (byId(id)) arrived.delete(id);
    announce();
    counts(fresh);
  };

  const refresh = (row) => {
    const old = byId(row.id);
    // a row with a request under way gets its answer
    if (!old || old.matches(".htmx-request, :has(.htmx-request)")) return;
    const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
    const box = row.querySelector(".row-check");
    if (box) box.checked = Boolean(old.querySelector(".row-check")?.checked);
    if (old.querySelector(".row-title[aria-current]")) row.querySelector(".row-title")?.setAttribute("aria-current", "true");
    const node = document.importNode(row, true);
    old.replaceWith(node);
    window.htmx?.process(node);
    if (focused) byId(focused)?.focus({ preventScroll: true });
  };

  const announce = () => {
    const pill = byId("new-sessions");
    if (!pill) return;
    const words = `${arrived.size >= 50 ? "50+" : arrived.size} new`;
    pill.hidden = !arrived.size;
    const place = pill.querySelector("span") ?? pill.appendChild(document.createElement("span"));
    if (!arrived.size || place.textContent === words) return;
    place.textContent = words;
    const said = byId("result-said");
    if (said) said.textContent = `${words} above the list`;
  };

  // the rail's numbers, link by link: swapping it whole would take its focus and close it on a phone
  const counts = (fresh) => {
    const now = new Map([...document.querySelectorAll(".rail .rail-link[href]")].map((link) => [link.getAttribute("href"), link]));
    for (const link of fresh.querySelectorAll(".rail .rail-link[href]")) {
      const [shown, count] = [now.get(link.getAttribute("href")), link.querySelector(".count")];
      const old = shown?.querySelector(".count");
      if (!shown || (old?.outerHTML ?? "") === (count?.outerHTML ?? "")) continue;
      if (old && count) old.replaceWith(document.importNode(count, true));
      else if (count) shown.append(document.importNode(count, true));
      else old.remove();
    }
  };

  const resume = () => {
    if (document.hidden) { clearTimeout(timer); return; }
    failures = 0;
    plan(0);
  };
  document.addEventListener("visibilitychange", resume);
  addEventListener("online", resume);
  addEventListener("pageshow", (event) => { if (event.persisted) resume(); });
  document.addEventListener("htmx:afterSettle", () => { if (!timer && !request) plan(wait); });
  document.addEventListener("htmx:historyRestore", () => plan(wait));
  // what this page did itself shows everywhere on it at once
  for (const name of ["sessionReadChanged", "sessionArchived", "sessionClosed", "sessionsChanged"]) document.addEventListener(name, () => plan(300));
  plan(EVERY);
})();
