// The transcript: places and their permalinks, jumps to parts not loaded yet, windows that come and go, and the tail of a session that goes on.
// The same on its own page and in the reading pane. Without it every link still leads to the window that it names.
(() => {
  "use strict";

  const site = window.sessionsite;
  // pixels below the scroller's top where reading happens: the sticky toolbar covers 44, the line of a search 36 more
  const lineBelow = () => (document.querySelector(".find-line") ? 96 : 60);
  const MOST_WINDOWS = 6; // kept in the page; what is further away is loaded again when one comes back
  const AT_END = 120; // pixels from the end within which the reader follows the tail

  const byId = (id) => (id ? document.getElementById(id) : null);
  const entries = () => byId("entries");
  const isVisible = (element) => Boolean(element?.getClientRects().length);
  const scrollerOf = (element) => {
    for (let one = element?.parentElement; one && one !== document.body; one = one.parentElement) {
      if (/auto|scroll/.test(getComputedStyle(one).overflowY)) return one;
    }
    return document.scrollingElement;
  };
  const scroller = () => scrollerOf(entries());
  const topOf = (element) => (element === document.scrollingElement ? 0 : element.getBoundingClientRect().top);

  // --- places: an element by its id, unfolded, with the focus, and in the address
  const remember = (id) => {
    const url = new URL(location.href);
    for (const name of ["at", "newer", "older", "turn"]) url.searchParams.delete(name);
    url.hash = /^[mcs]\d+$/.test(id) ? id : "";
    if (url.href !== location.href) history.replaceState(history.state, "", url);
  };
  // a result stands in its call
  const placeOf = (id) => {
    const place = byId(id);
    return place?.matches(".tool-parts") ? place.closest(".tool-call") : place;
  };
  const goTo = (place, { focus = true } = {}) => {
    for (let fold = place.closest("details"); fold; fold = fold.parentElement?.closest("details")) fold.open = true;
    const target = place.matches("details") ? place.querySelector("summary") : place;
    if (focus) target.focus({ preventScroll: true });
    place.scrollIntoView({ block: "start" });
    remember(place.id.replace(/^call-/, ""));
    byId("outline")?.matches(":popover-open") && byId("outline").hidePopover();
  };
  const load = (query) => {
    const base = document.querySelector(".transcript")?.dataset.baseHere;
    if (base) htmx.ajax("GET", `${base}${query}`, { target: "#entries", swap: "innerHTML" });
  };
  const goToHash = () => {
    const id = decodeURIComponent(location.hash.slice(1));
    if (!id || !entries()) return;
    const place = placeOf(id);
    if (place) goTo(place, { focus: false });
    else if (/^m\d+$/.test(id)) load(`at=${id.slice(1)}`);
  };
  addEventListener("hashchange", goToHash);
  let wanted = ""; // the place of a link that the server answers
  const arrive = () => {
    const window_ = entries()?.querySelector("[data-place]");
    const id = wanted || window_?.dataset.place;
    if (!id) return false;
    wanted = "";
    if (window_) delete window_.dataset.place;
    const place = placeOf(id) ?? placeOf(decodeURIComponent(location.hash.slice(1)));
    if (!place) return false;
    goTo(place, { focus: !document.activeElement?.closest(".find-line, .find-bar") });
    // what was searched may stand far down in what scrolls by itself
    (place.closest(".turn") ?? place).querySelector("mark")?.scrollIntoView({ block: "center" });
    return true;
  };

  // --- links of the outline lead within the page where the place is loaded; the server answers for the rest
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.(".outline a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || event.button) return;
    const place = link.dataset.turn ? entries()?.querySelector(`.turn[aria-label="Turn ${link.dataset.turn}"]`) : placeOf(link.dataset.mark);
    wanted = place ? "" : (link.dataset.mark ?? "");
    if (!place) return;
    event.preventDefault();
    event.stopPropagation(); // htmx listens on the link itself
    goTo(place);
  }, true);

  // --- where one is
  const currentTurn = () => {
    const root = entries();
    if (!root) return null;
    const line = topOf(scroller()) + lineBelow();
    const turns = root.querySelectorAll(".window > [id]");
    let low = 0;
    let high = turns.length; // the places stand in order: half them
    while (low < high) {
      const middle = (low + high) >> 1;
      if (turns[middle].getBoundingClientRect().top <= line + 4) low = middle + 1;
      else high = middle;
    }
    return turns[low - 1] ?? null;
  };
  const numberOf = (id) => Number(/^[mr](\d+)$/.exec(id ?? "")?.[1] ?? NaN); // a run of turns has its first message's number
  const isAbove = (link, line) => {
    const place = placeOf(link.dataset.mark);
    return isVisible(place) ? place.getBoundingClientRect().top <= line + 4 : null;
  };
  let asked = 0;
  let hasScrolled = false;
  const follow = () => {
    asked = 0;
    if (!entries()) return;
    const line = topOf(scroller()) + lineBelow();
    const turn = currentTurn();
    if (turn && hasScrolled && /^m\d+$/.test(turn.id)) remember(turn.id);
    for (const list of document.querySelectorAll(".outline [data-marks]")) {
      let current = null;
      for (const link of list.querySelectorAll("a")) {
        const above = isAbove(link, line) ?? (turn ? numberOf(link.dataset.mark) <= numberOf(turn.id) : false);
        if (above) current = link;
      }
      for (const link of list.querySelectorAll("[aria-current]")) if (link !== current) link.removeAttribute("aria-current");
      current?.setAttribute("aria-current", "true");
    }
  };
  const followSoon = () => { asked ||= requestAnimationFrame(follow); };
  document.addEventListener("scroll", () => { hasScrolled = true; followSoon(); }, { capture: true, passive: true });

  // --- n, p, f: through the whole session, by the outline's lists
  const step = (name, by) => {
    const links = [...document.querySelectorAll(`.outline [data-marks="${name}"] a`)];
    if (!links.length || !entries()) return false;
    const line = topOf(scroller()) + lineBelow();
    const turn = currentTurn();
    const here = numberOf(turn?.id);
    const offset = (link) => {
      const place = placeOf(link.dataset.mark);
      if (isVisible(place)) return place.getBoundingClientRect().top - line;
      const number = numberOf(link.dataset.mark);
      return Number.isNaN(here) ? 1 : number > here ? Infinity : -Infinity;
    };
    const next = by > 0 ? links.find((link) => offset(link) > 4) : links.findLast((link) => offset(link) < -4);
    next?.click();
    return true;
  };
  site.key("n", () => step("prompts", 1));
  site.key("p", () => step("prompts", -1));
  site.key("f", () => step("errors", 1));
  for (const [name, words] of [["j", "next"], ["k", "previous"]]) {
    site.key(name, () => !byId("session-list") && site.follow(`[data-neighbour="${words}"]`));
  }

  // --- search: Enter goes on to the next match, Shift Enter back
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.target.id !== "find" || event.isComposing || event.target.value !== event.target.defaultValue) return;
    const link = document.querySelector(`[data-find="${event.shiftKey ? "previous" : "next"}"]`);
    if (!link) return;
    event.preventDefault();
    link.click();
  });

  // --- windows: what is read stays where it is when something is put before it, and what is far away goes
  let held = null; // an element in view, and where it stood
  const hold = () => {
    const turn = currentTurn() ?? entries()?.querySelector(".window > [id]");
    held = turn && { turn, top: turn.getBoundingClientRect().top };
  };
  const keep = () => {
    if (held?.turn.isConnected) {
      const moved = held.turn.getBoundingClientRect().top - held.top;
      if (Math.abs(moved) > 1) scroller().scrollTop += moved;
    }
    held = null;
  };
  const more = (direction, cursor) => {
    const paragraph = document.createElement("p");
    const link = document.createElement("a");
    const url = `${document.querySelector(".transcript").dataset.baseHere}${direction}=${encodeURIComponent(cursor)}`;
    paragraph.className = `divider is-${direction}`;
    link.href = url;
    link.rel = direction === "older" ? "prev" : "next";
    link.textContent = direction === "older" ? "Show what comes before" : "Show what comes next";
    for (const [name, value] of [["hx-get", url], ["hx-target", "closest p"], ["hx-swap", "outerHTML"], ["hx-trigger", "click, intersect once"]]) link.setAttribute(name, value);
    paragraph.append(link);
    return paragraph;
  };
  const prune = (end) => {
    const windows = [...entries().querySelectorAll(":scope > .window")];
    let excess = windows.length - MOST_WINDOWS;
    const gone = [];
    while (excess-- > 0) {
      const one = end === "top" ? windows.shift() : windows.pop();
      if (one.contains(document.activeElement)) break;
      gone.push(one);
    }
    if (!gone.length) return;
    for (const one of gone) one.remove();
    for (const old of entries().querySelectorAll(end === "top" ? ":scope > .is-older" : ":scope > .is-newer, :scope > .is-end")) old.remove();
    const link = end === "top" ? more("older", windows[0].dataset.first) : more("newer", windows.at(-1).dataset.last);
    if (end === "top") windows[0].before(link);
    else windows.at(-1).after(link);
    htmx.process(link);
  };
  let grown = "";
  let wasAtEnd = false;
  const isAtEnd = () => {
    const element = scroller();
    return element.scrollHeight - element.scrollTop - element.clientHeight < AT_END;
  };
  document.addEventListener("htmx:beforeSwap", (event) => {
    const target = event.detail.target;
    if (!entries()?.contains(target) || target === entries()) return;
    grown = target.matches(".is-older") ? "top" : target.matches(".is-newer, #tail") ? "bottom" : "";
    wasAtEnd = target.id === "tail" && isAtEnd();
    if (grown) hold();
  });
  document.addEventListener("htmx:afterSettle", () => {
    if (!entries()) return;
    if (grown) {
      keep();
      hold();
      prune(grown === "top" ? "bottom" : "top");
      keep();
      if (wasAtEnd) scroller().scrollTop = scroller().scrollHeight;
      grown = "";
    }
    arrive();
    followSoon();
  });

  if (!arrive()) goToHash();
  followSoon();
})();
