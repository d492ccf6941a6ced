// The list and its reading pane: the cursor among the rows, selection, what opens where, and who inherits the focus of a row that left.
(() => {
  "use strict";

  const site = window.sessionsite;
  const byId = (id) => (id ? document.getElementById(id) : null);
  const rows = () => [...document.querySelectorAll("#session-list .session-row")];
  const titleOf = (row) => row?.querySelector(".row-title");
  const focusRow = (row) => { titleOf(row)?.focus(); return Boolean(row); };
  const focusedRow = () => document.activeElement?.closest?.(".session-row") ?? null;
  const pane = () => {
    const element = byId("reading-pane");
    return element?.offsetParent ? element : null;
  };
  let opened = ""; // the row of what the pane shows, also while a swap brings that row anew
  const openedRow = () => (pane()?.querySelector(".transcript") ? byId(opened) : null);
  const isReading = () => Boolean(pane()?.querySelector(".transcript")) && (pane().contains(document.activeElement) || document.activeElement === document.body);

  // --- the cursor is the focus; with none, it begins where it was last
  let cursor = "";
  document.addEventListener("focusin", (event) => {
    const row = event.target.closest?.(".session-row");
    if (row) cursor = row.id;
  });
  const move = (step) => {
    const all = rows();
    if (!all.length) return false;
    const reading = isReading() ? openedRow() : null;
    const from = reading || focusedRow() || byId(cursor);
    const at = all.indexOf(from);
    const next = all[Math.min(Math.max(at < 0 ? (step > 0 ? 0 : all.length - 1) : at + step, 0), all.length - 1)];
    // who reads goes on reading: the next session opens in the pane
    if (reading) { if (next !== reading) openRow(next); } else focusRow(next);
    return true;
  };
  site.key("j", () => move(1));
  site.key("k", () => move(-1));

  // Out of the search field and into what it found.
  document.addEventListener("keydown", (event) => {
    if (event.target.id !== "q" || !["Escape", "Enter", "ArrowDown"].includes(event.key) || event.isComposing || !rows().length) return;
    if (event.key !== "Enter") event.preventDefault(); // Escape would empty it
    setTimeout(() => focusRow(byId(cursor) ?? rows()[0]));
  });

  // --- opening: into the pane where there is one, else as the link it is
  let entersPane = false;
  let preloadTimer = 0;
  const openRow = (row) => {
    const link = titleOf(row);
    link?.click();
    return Boolean(link);
  };
  site.key("o", () => openRow(focusedRow()));
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.(".row-title");
    if (!link) return;
    if (!pane() || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || event.button) {
      event.stopPropagation(); // htmx listens on the link itself and does not get it
      return;
    }
    entersPane = event.detail === 0; // by key: the focus goes along
    clearTimeout(preloadTimer);
    mark(link.closest(".session-row"));
  }, true);
  const mark = (row) => {
    for (const other of document.querySelectorAll(".row-title[aria-current]")) if (!row?.contains(other)) other.removeAttribute("aria-current");
    titleOf(row)?.setAttribute("aria-current", "true");
    if (row) opened = row.id;
  };
  // The pane's own links lead on, too; and a row that comes anew does not know that it is open.
  document.addEventListener("htmx:afterSwap", (event) => {
    const { target, pathInfo, requestConfig } = event.detail;
    if (requestConfig?.verb !== "get" || !["reading-pane", "reading-parts"].includes(target?.id)) return;
    mark(byId(`session-${pathInfo.requestPath.match(/[0-9a-f]{8}-[0-9a-f-]{27}/)?.[0]}`));
  });
  document.addEventListener("htmx:afterSettle", () => {
    const row = openedRow();
    if (row && !titleOf(row).hasAttribute("aria-current")) mark(row);
  });
  document.addEventListener("htmx:afterSwap", () => {
    if (!entersPane || !pane()?.querySelector(".transcript")) return;
    entersPane = false;
    pane().querySelector("h1, h2")?.focus({ preventScroll: true });
  });
  site.key("u", () => {
    const row = pane()?.querySelector(".transcript") && (openedRow() ?? byId(cursor));
    entersPane = false;
    if (row) focusRow(row);
    return Boolean(row);
  });
  // A word for the server that its answer may bring a row along, which htmx would look for.
  document.addEventListener("htmx:configRequest", (event) => {
    const id = event.detail.path.match(/[0-9a-f]{8}-[0-9a-f-]{27}/)?.[0];
    if (!byId(`session-${id}`)) delete event.detail.headers["X-Reading-Pane"];
  });

  // --- what is done with a row, or with all that are selected
  const press = (name) => {
    const row = focusedRow();
    const button = document.querySelector(".row-check:checked")
      ? document.querySelector(`.bulk-bar [data-key="${name}"]`)
      : row?.querySelector(`[data-key="${name}"]`);
    button?.click();
    return Boolean(button);
  };
  for (const name of ["e", "r"]) site.key(name, () => press(name));

  // A row whose own request is under way stays until its answer: htmx looks for what an answer changes beside the element that asked, and finds
  // nothing once that has left the page.
  let answered = null;
  document.addEventListener("htmx:beforeSwap", (event) => {
    answered = event.detail.requestConfig?.elt;
    // and a row that has left meanwhile needs no news
    if (event.detail.requestConfig?.verb !== "post" || !event.detail.serverResponse.includes("hx-swap-oob")) return;
    const answer = document.createElement("template");
    answer.innerHTML = event.detail.serverResponse;
    for (const piece of answer.content.querySelectorAll("[hx-swap-oob]")) if (piece.id && !byId(piece.id)) piece.remove();
    event.detail.serverResponse = answer.innerHTML;
  });
  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    const row = event.detail.target?.closest?.(".session-row");
    if (row && [...row.querySelectorAll(".htmx-request")].some((asking) => asking !== answered)) event.detail.shouldSwap = false;
  });

  // --- selection; shift reaches from the last box to this one
  let anchor = "";
  const boxOf = (row) => row?.querySelector(".row-check");
  const check = (box, wanted) => {
    if (!box || box.checked === wanted) return;
    box.checked = wanted;
    box.dispatchEvent(new Event("change", { bubbles: true }));
  };
  const checkRange = (row, wanted) => {
    const all = rows();
    const [from, to] = [all.indexOf(byId(anchor)), all.indexOf(row)];
    if (from < 0 || to < 0) return check(boxOf(row), wanted);
    for (const one of all.slice(Math.min(from, to), Math.max(from, to) + 1)) check(boxOf(one), wanted);
  };
  site.key("x", () => {
    const row = focusedRow();
    const box = boxOf(row);
    if (!box) return false;
    check(box, !box.checked);
    anchor = row.id;
    return true;
  });
  site.key("X", () => {
    const row = focusedRow();
    if (!boxOf(row)) return false;
    checkRange(row, true);
    anchor = row.id;
    return true;
  });
  site.key("* a", () => { for (const row of rows()) check(boxOf(row), true); return rows().length > 0; });
  site.key("* n", () => { for (const row of rows()) check(boxOf(row), false); return rows().length > 0; });
  document.addEventListener("click", (event) => {
    if (!event.target.matches?.(".row-check")) return;
    const row = event.target.closest(".session-row");
    if (event.shiftKey) checkRange(row, event.target.checked);
    anchor = row.id;
  });

  // --- the pane's toolbar and head say what was done elsewhere with their session: by its row, by a selection, by undo
  const renew = async () => {
    const reading = pane()?.querySelector(".transcript") && openedRow();
    if (!reading) return;
    const id = reading.id;
    const response = await fetch(titleOf(reading).getAttribute("hx-get"), { headers: { "HX-Request": "true", "HX-Target": "reading-pane" }, cache: "reload" }).catch(() => null);
    if (!response?.ok || openedRow()?.id !== id) return;
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const selector of [".toolbar", ".session-head"]) {
      const [old, node] = [pane()?.querySelector(selector), fresh.querySelector(selector)];
      if (!old || !node || old.innerHTML === node.innerHTML) continue;
      const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
      old.replaceWith(document.adoptNode(node));
      window.htmx.process(node);
      if (focused) byId(focused)?.focus({ preventScroll: true });
    }
  };
  for (const name of ["sessionArchived", "sessionsChanged"]) document.addEventListener(name, renew);

  // --- who inherits: the next row after one that left; the row itself when it came back
  let order = rows().map((row) => row.id); // as they stood after the last swap
  let left = []; // rows that the last action took away
  let isUndoing = false;
  let leavesPane = ""; // the row whose session is archived from the pane
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.target.closest?.("#toast")) isUndoing = true;
    if (event.target.matches?.("#reading-pane .toolbar form") && event.target.querySelector('[data-key="e"]')) leavesPane = openedRow()?.id ?? "";
  });
  document.addEventListener("htmx:afterSettle", () => {
    const [before, gone] = [order, order.filter((id) => !byId(id))];
    order = rows().map((row) => row.id);
    const back = isUndoing && left.find(byId);
    if (back) {
      [isUndoing, left] = [false, []];
      focusRow(byId(back));
      return;
    }
    if (!gone.length || !order.length) return;
    const at = Math.max(before.indexOf(gone.includes(cursor) ? cursor : gone[0]), 0);
    const heir = byId(before.slice(at).find(byId) ?? before.slice(0, at).findLast(byId)) ?? rows()[0];
    const isLost = !document.activeElement || document.activeElement === document.body;
    [left, isUndoing] = [gone, false];
    if (gone.includes(leavesPane)) { leavesPane = ""; openRow(heir); } // read and archived: on to the next
    else if (isLost) focusRow(heir);
  });
  document.addEventListener("htmx:historyRestore", () => { order = rows().map((row) => row.id); });

  // --- hovering a row, or resting on it with the keys, fetches what a click would show; the answer may be used for a few seconds
  let preloads = 0;
  const preloaded = new Set();
  setInterval(() => { preloads = 0; preloaded.clear(); }, 10_000); // seconds that the server allows an answer to be used: htmx.py
  const preload = (event) => {
    const link = event.target.closest?.(".row-title, .session-row")?.closest(".session-row")?.querySelector(".row-title[hx-get]");
    clearTimeout(preloadTimer);
    if (!link || !pane() || preloads >= 5 || preloaded.has(link.href) || navigator.connection?.saveData) return;
    preloadTimer = setTimeout(() => {
      preloads += 1;
      preloaded.add(link.href);
      // the headers by which the answer varies are those of the click
      fetch(link.getAttribute("hx-get"), { headers: { "HX-Request": "true", "HX-Target": "reading-pane", "HX-Preloaded": "true" }, priority: "low" }).catch(() => {});
    }, 80);
  };
  document.addEventListener("pointerover", (event) => { if (event.pointerType === "mouse") preload(event); });
  document.addEventListener("focusin", preload);
})();
