// Keys, fresh relative times, focus after a row left the list, and a word when the site cannot be reached. Every page works without it.
(() => {
  "use strict";

  // --- relative times: the same words as templatetags/sessionsite.py, ago_text; from a day on the server's word stands
  const agoText = (seconds) => {
    if (seconds < 60) return "just now";
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
    return `${Math.floor(seconds / 3600)} h ago`;
  };
  const freshen = () => {
    if (document.hidden) return;
    for (const time of document.querySelectorAll("time[data-ago]")) {
      const seconds = (Date.now() - Date.parse(time.dateTime)) / 1000;
      if (seconds < -60 || seconds >= 86400) continue;
      const words = agoText(seconds);
      if (time.textContent !== words) time.textContent = words;
    }
  };
  setInterval(freshen, 30_000);
  document.addEventListener("visibilitychange", freshen);

  // --- single keys, which can be switched off (WCAG 2.1.4)
  const SWITCH = "sessionsite-keys";
  const stored = () => {
    try { return localStorage.getItem(SWITCH); } catch { return null; }
  };
  let keysAreOn = stored() !== "off";
  const keysSwitch = document.getElementById("keys-switch");
  if (keysSwitch) {
    keysSwitch.checked = keysAreOn;
    keysSwitch.addEventListener("change", () => {
      keysAreOn = keysSwitch.checked;
      try { localStorage.setItem(SWITCH, keysAreOn ? "on" : "off"); } catch { /* a browser that keeps nothing: until the page is left */ }
    });
  }

  const currentRow = () => document.activeElement?.closest?.(".session-row") ?? null;
  const focusRow = (row) => row?.querySelector(".row-title")?.focus();
  const moveRow = (step) => {
    const rows = [...document.querySelectorAll(".session-row")];
    if (!rows.length) return false;
    const at = rows.indexOf(currentRow());
    focusRow(rows[Math.min(Math.max(at < 0 ? (step > 0 ? 0 : rows.length - 1) : at + step, 0), rows.length - 1)]);
    return true;
  };
  const press = (key) => {
    const button = (currentRow() ?? document).querySelector(currentRow() ? `[data-key="${key}"]` : `.toolbar [data-key="${key}"]`);
    button?.click();
    return Boolean(button);
  };
  const jump = (selector, step) => {
    const places = [...document.querySelectorAll(selector)];
    if (!places.length) return false;
    const scroller = document.querySelector(".page");
    const top = scroller && scroller.scrollHeight > scroller.clientHeight ? scroller.getBoundingClientRect().top : 0;
    // the sticky toolbar covers 44 px
    const line = top + 60;
    const next = step > 0
      ? places.find((place) => place.getBoundingClientRect().top > line + 4)
      : places.findLast((place) => place.getBoundingClientRect().top < line - 4);
    if (!next) return true;
    (next.matches("details") ? next.querySelector("summary") : next).focus({ preventScroll: true });
    next.scrollIntoView({ block: "start" });
    return true;
  };
  const back = () => {
    const link = document.getElementById("back");
    if (!link) return false;
    // the list as it was, filters and place, when one came from it
    const from = document.referrer && new URL(document.referrer);
    if (from && from.origin === location.origin && from.pathname === link.pathname && history.length > 1) history.back();
    else link.click();
    return true;
  };
  const go = (key) => {
    const target = { i: '.rail-link[title="Inbox"]', c: '.rail-link[title="Costs"]' }[key];
    const link = target && document.querySelector(target);
    link?.click();
    return Boolean(link);
  };
  const keys = {
    j: () => moveRow(1),
    k: () => moveRow(-1),
    o: () => { const link = currentRow()?.querySelector(".row-title"); link?.click(); return Boolean(link); },
    u: back,
    r: () => press("r"),
    e: () => press("e"),
    n: () => jump(".transcript > .is-prompt", 1),
    p: () => jump(".transcript > .is-prompt", -1),
    f: () => jump(".tool-call.is-failed", 1),
    "?": () => { document.getElementById("keys")?.togglePopover(); return true; },
  };
  let afterG = 0;
  document.addEventListener("keydown", (event) => {
    if (!keysAreOn || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.target.closest?.("input, textarea, select, [contenteditable]")) return;
    let done = false;
    if (Date.now() - afterG < 1000) { afterG = 0; done = go(event.key); }
    else if (event.key === "g") { afterG = Date.now(); done = true; }
    else if (Object.hasOwn(keys, event.key)) done = keys[event.key]();
    if (done) event.preventDefault();
  });

  // --- after archive the focus goes to the next row, not to the top of the page
  let heir = null;
  document.addEventListener("htmx:beforeRequest", (event) => {
    const form = event.target.closest?.("form[data-leaves]");
    const row = form?.closest(".session-row");
    if (!row) return;
    const rows = [...document.querySelectorAll(".session-row")];
    const at = rows.indexOf(row);
    heir = { gone: row.id, next: (rows[at + 1] ?? rows[at - 1])?.id };
  });
  document.addEventListener("htmx:afterSettle", () => {
    if (heir && !document.getElementById(heir.gone)) focusRow(document.getElementById(heir.next));
    heir = null;
  });

  // --- toasts go by themselves, unless one is being used; a failure says what happened
  let toastTimer = 0;
  const toast = () => document.getElementById("toast");
  const fadeToast = () => {
    clearTimeout(toastTimer);
    if (!toast()?.firstElementChild) return;
    toastTimer = setTimeout(() => {
      if (toast().matches(":hover, :focus-within")) fadeToast();
      else toast().replaceChildren();
    }, 10_000);
  };
  const say = (words) => {
    const line = document.createElement("p");
    line.className = "toast";
    line.textContent = words;
    toast()?.replaceChildren(line);
    fadeToast();
  };
  document.addEventListener("htmx:sendError", () => say("The site cannot be reached. Nothing was changed; try again."));
  document.addEventListener("htmx:timeout", () => say("The site took too long. Reload to see what it did."));
  document.addEventListener("htmx:responseError", (event) => {
    const status = event.detail.xhr.status;
    say(status === 404 ? "That session is no longer there." : status === 403 ? "You may not change this session." : "The site could not do that. Nothing was changed.");
  });
  document.addEventListener("htmx:oobAfterSwap", fadeToast);
  fadeToast();

  // --- a link to a message opens the folds around it
  const unfold = () => {
    const place = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!place) return;
    for (let fold = place.closest("details"); fold; fold = fold.parentElement?.closest("details")) fold.open = true;
    place.scrollIntoView({ block: "start" });
  };
  addEventListener("hashchange", unfold);
  unfold();
})();
