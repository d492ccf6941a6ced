// What every page has: single keys, fresh relative times, focus that survives a swap, and the toast. Every page works without it.
// The others (inbox.js, live.js, palette.js, transcript.js) add to `sessionsite`; listeners sit on the document, so that a swap needs no set-up.
(() => {
  "use strict";

  const site = (window.sessionsite = {});
  const byId = (id) => (id ? document.getElementById(id) : null);

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

  // --- single keys, which can be switched off (WCAG 2.1.4): kept by the server for the person, here for a page without one
  const SWITCH = "sessionsite-keys";
  const stored = () => {
    try { return localStorage.getItem(SWITCH); } catch { return null; }
  };
  const root = document.documentElement;
  let keysAreOn = root.dataset.keys ? root.dataset.keys === "on" : stored() !== "off";
  document.addEventListener("change", (event) => {
    if (event.target.id !== "keys-switch") return;
    keysAreOn = event.target.checked;
    try { localStorage.setItem(SWITCH, keysAreOn ? "on" : "off"); } catch { /* a browser that keeps nothing: until the page is left */ }
  });
  const showSwitch = () => {
    const box = byId("keys-switch");
    if (box) box.checked = keysAreOn;
  };
  showSwitch();

  // name ("j", "g i") -> what it does, newest first; each tells whether it did something
  const keys = new Map();
  site.key = (name, act) => keys.set(name, [act, ...(keys.get(name) ?? [])]);
  site.keyNames = () => [...keys.keys()];
  const prefixes = () => new Set([...keys.keys()].filter((name) => name.includes(" ")).map((name) => name.split(" ")[0]));
  const FIELDS = "input:not([type=checkbox], [type=radio], [type=button], [type=submit], [type=reset]), textarea, select, [contenteditable]";
  let prefix = "";
  let prefixAt = 0;
  document.addEventListener("keydown", (event) => {
    if (!keysAreOn || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.target.closest?.(FIELDS) || ["Shift", "CapsLock"].includes(event.key)) return;
    // what floats has the keyboard for itself; the sheet of keys closes with its own
    if (document.querySelector("dialog[open], :popover-open") && event.key !== "?") return;
    const name = prefix && Date.now() - prefixAt < 1500 ? `${prefix} ${event.key}` : event.key;
    prefix = "";
    if (prefixes().has(name)) {
      [prefix, prefixAt] = [name, Date.now()];
      event.preventDefault();
    } else if (keys.get(name)?.some((act) => act(event))) {
      event.preventDefault();
    }
  });

  const follow = (selector) => {
    const link = document.querySelector(selector);
    link?.click();
    return Boolean(link);
  };
  site.follow = follow;
  for (const place of ["i", "a", "c"]) site.key(`g ${place}`, () => follow(`[data-go="${place}"]`));
  site.key("?", () => { byId("keys")?.togglePopover(); return true; });
  site.key("/", () => {
    // in the pane that one reads, else in the list; on a page with neither, anywhere
    const isReading = Boolean(document.activeElement?.closest?.("#reading-pane"));
    const field = (isReading ? ["find", "q"] : ["q", "find"]).map(byId).find((element) => element?.offsetParent);
    if (!field) return follow("[data-palette]");
    field.focus();
    field.select();
    return true;
  });
  // On a whole page of a transcript; inbox.js knows the pane.
  site.key("u", () => {
    const link = byId("back");
    if (!link) return false;
    // the list as it was, filters and place, when one came from it
    const from = document.referrer && new URL(document.referrer);
    if (from && from.origin === location.origin && from.pathname === new URL(link.href).pathname && history.length > 1) history.back();
    else link.click();
    return true;
  });
  for (const name of ["e", "r"]) site.key(name, () => follow(`.toolbar [data-key="${name}"]`));
  site.key("z", () => {
    const button = document.querySelector("#toast form button");
    button?.click();
    return Boolean(button);
  });

  // --- focus: what a swap took it from gives it to its heir; Back and Forward give it back
  const PLACES = "sessionsite-places";
  const here = () => location.pathname + location.search;
  let places = {};
  try { places = JSON.parse(sessionStorage.getItem(PLACES) ?? "{}"); } catch { /* begins empty */ }
  document.addEventListener("focusin", (event) => {
    if (!event.target.id) return;
    delete places[here()];
    places[here()] = event.target.id; // the newest stands last
    for (const old of Object.keys(places).slice(0, -30)) delete places[old];
  });
  addEventListener("pagehide", () => {
    try { sessionStorage.setItem(PLACES, JSON.stringify(places)); } catch { /* then Back begins at the top */ }
  });
  const refocus = (id) => byId(id)?.focus();
  let wanted = ""; // asked at once: htmx gives the focus to what had it before, as soon as the old page is there
  addEventListener("popstate", () => { wanted = places[here()]; });
  document.addEventListener("htmx:historyRestore", () => { showSwitch(); refocus(wanted); });
  if (performance.getEntriesByType("navigation")[0]?.type === "back_forward") refocus(places[here()]);
  site.refocus = refocus;

  // --- toasts go by themselves, unless one is being used; a failure says what happened
  let toastTimer = 0;
  const toast = () => byId("toast");
  const fadeToast = () => {
    clearTimeout(toastTimer);
    if (!toast()?.firstElementChild) return;
    toastTimer = setTimeout(() => {
      if (toast().matches(":hover, :focus-within") || document.hidden) fadeToast();
      else toast().replaceChildren();
    }, 10_000);
  };
  site.say = (words, link) => {
    const line = document.createElement("p");
    line.className = "toast";
    line.textContent = words;
    if (link) {
      const anchor = document.createElement("a");
      [anchor.className, anchor.href, anchor.textContent] = ["button", link.href, link.words];
      line.append(" ", anchor);
    }
    toast()?.replaceChildren(line);
    fadeToast();
  };
  document.addEventListener("htmx:sendError", () => site.say("The site cannot be reached. Nothing was changed; try again."));
  document.addEventListener("htmx:timeout", () => site.say("The site took too long. Reload to see what it did."));
  document.addEventListener("htmx:responseError", (event) => {
    const status = event.detail.xhr.status;
    site.say(status === 404 ? "That session is no longer there." : status === 403 ? "You may not change this session." : "The site could not do that. Nothing was changed.");
  });
  document.addEventListener("htmx:oobAfterSwap", fadeToast);
  fadeToast();
})();
