// The command palette (Ctrl or Cmd and K): a dialog with one input over the options that the server finds, and over what can be done with the
// session that is open. An ARIA combobox: the focus stays in the input, aria-activedescendant names the option.
(() => {
  "use strict";

  const site = window.sessionsite;
  const byId = (id) => document.getElementById(id);
  const dialog = () => byId("palette");
  const input = () => byId("palette-input");
  const list = () => byId("palette-choices");
  const options = () => [...list().querySelectorAll('[role="option"]')];
  let request = null;
  let timer = 0;

  // the buttons of the session in sight, by the words of their labels
  const actions = () => [...document.querySelectorAll(".toolbar [data-key], .bulk-bar [data-key]")].filter((button) => button.getClientRects().length && !button.disabled);
  let offered = [];
  const actionOptions = (words) => {
    const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
    return offered
      .map((button, at) => [button, at, (button.getAttribute("aria-label") ?? button.textContent).trim()])
      .filter(([, , label]) => wanted.every((word) => label.toLowerCase().split(/\s+/).some((part) => part.startsWith(word))))
      .map(([button, at, label]) => {
        const option = document.createElement("li");
        option.id = `choice-action-${at}`;
        option.setAttribute("role", "option");
        option.setAttribute("aria-selected", "false");
        option.dataset.action = String(at);
        const icon = button.querySelector("svg");
        if (icon) option.append(icon.cloneNode(true));
        for (const [css, text] of [["choice-kind", "Do"], ["choice-title", label]]) {
          const span = option.appendChild(document.createElement("span"));
          [span.className, span.textContent] = [css, text];
        }
        option.appendChild(document.createElement("kbd")).textContent = button.dataset.key;
        return option;
      });
  };

  const choose = (option) => {
    for (const other of options()) other.setAttribute("aria-selected", String(other === option));
    if (option) input().setAttribute("aria-activedescendant", option.id);
    else input().removeAttribute("aria-activedescendant");
    option?.scrollIntoView({ block: "nearest" });
  };
  const chosen = () => list().querySelector('[aria-selected="true"]');
  const say = (words) => { byId("palette-said").textContent = words; };

  const find = async () => {
    request?.abort();
    const mine = (request = new AbortController());
    const words = input().value;
    const url = new URL(input().form.action);
    url.searchParams.set("q", words);
    try {
      const response = await fetch(url, { headers: { "HX-Request": "true", "HX-Current-URL": location.href }, signal: mine.signal });
      if (response.headers.has("HX-Redirect")) { location.assign(response.headers.get("HX-Redirect")); return; }
      if (!response.ok) throw new Error(String(response.status));
      const found = new DOMParser().parseFromString(await response.text(), "text/html").querySelectorAll('[role="option"]');
      if (mine.signal.aborted) return;
      list().replaceChildren(...actionOptions(words), ...[...found].map((option) => document.importNode(option, true)));
      choose(options()[0]);
      const count = options().length - (words.trim() ? 1 : 0); // the last is the search itself
      say(!words.trim() ? "Type to find a session" : count > 0 ? `${count} found` : "Nothing has this name. Enter searches all sessions for it.");
    } catch (error) {
      if (error.name === "AbortError") return;
      list().replaceChildren(...actionOptions(words));
      choose(options()[0]);
      say("The site cannot be reached. Try again.");
    }
  };

  const open = () => {
    if (!dialog() || dialog().open) return;
    for (const floating of document.querySelectorAll(":popover-open")) floating.hidePopover();
    offered = actions();
    input().value = "";
    dialog().showModal();
    list().replaceChildren(...actionOptions(""));
    find();
  };
  const run = (option) => {
    if (!option) return;
    dialog().close();
    if (option.dataset.action) offered[Number(option.dataset.action)]?.click();
    else location.assign(option.dataset.href);
  };

  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      if (dialog()?.open) dialog().close();
      else open();
      return;
    }
    if (event.target.id !== "palette-input" || event.isComposing) return;
    const all = options();
    const at = all.indexOf(chosen());
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + 8, PageUp: at - 8 }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      if (all.length) choose(all[event.key.startsWith("Page") ? Math.min(Math.max(to, 0), all.length - 1) : (to + all.length) % all.length]);
    } else if (event.key === "Enter") {
      event.preventDefault();
      run(chosen());
    }
  });
  document.addEventListener("input", (event) => {
    if (event.target.id !== "palette-input") return;
    clearTimeout(timer);
    timer = setTimeout(find, 90);
  });
  document.addEventListener("click", (event) => {
    const opener = event.target.closest?.("[data-palette]");
    if (opener && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      open();
      return;
    }
    if (event.target === dialog()) dialog().close(); // beside it
    else if (dialog()?.contains(event.target)) run(event.target.closest('[role="option"]'));
  });
  site.openPalette = open;
})();
