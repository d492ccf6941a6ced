// Beside a message: what was written instead of how it reads, and a button that copies code. Everything is listened to on the document, so
// that what htmx brings later needs no start of its own. Without it, "Raw" is a link to the plain text.
(() => {
  "use strict";
  // what a browser lays out in one element without a wait; the link opens all of it
  const RAW_LIMIT = 1_000_000;

  const icon = (name) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
    svg.setAttribute("class", "icon");
    svg.setAttribute("aria-hidden", "true");
    use.setAttribute("href", `#i-${name}`);
    svg.append(use);
    return svg;
  };

  // --- raw and formatted
  const toggleRaw = async (link) => {
    const message = link.closest(".message");
    const prose = message.querySelector(":scope > .prose");
    let raw = message.querySelector(":scope > .is-raw");
    if (!raw) {
      link.setAttribute("aria-busy", "true");
      let text;
      try {
        const answer = await fetch(link.href, { credentials: "same-origin" });
        if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
        text = await answer.text();
      } catch {
        location.assign(link.href); // the browser says what is wrong
        return;
      } finally {
        link.removeAttribute("aria-busy");
      }
      raw = document.createElement("pre");
      raw.className = "code is-raw";
      raw.tabIndex = 0;
      raw.setAttribute("role", "group");
      raw.setAttribute("aria-label", "Raw text");
      raw.textContent = text.length > RAW_LIMIT ? `${text.slice(0, RAW_LIMIT)}\u2026` : text;
      raw.hidden = true;
      prose.after(raw);
    }
    raw.hidden = !raw.hidden;
    prose.hidden = !raw.hidden;
    link.textContent = raw.hidden ? "Raw" : "Formatted";
    link.setAttribute("aria-label", raw.hidden ? "Raw text" : "Formatted text");
  };

  // --- copy: the button comes when a block is pointed at or has the focus, so that a long transcript does not carry hundreds of them
  const withCopy = (block) => {
    if (block.parentElement.classList.contains("code-box")) return;
    const hadFocus = document.activeElement === block;
    const box = document.createElement("div");
    box.className = "code-box";
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button is-quiet is-icon copy";
    button.title = "Copy";
    button.setAttribute("aria-label", "Copy");
    button.append(icon("copy"));
    block.before(box);
    box.append(block, button);
    if (hadFocus) block.focus({ preventScroll: true });
  };
  const copy = async (button) => {
    let name = "check";
    try {
      await navigator.clipboard.writeText(button.previousElementSibling.textContent);
    } catch {
      // no permission, or not a secure address: the text is selected, and the keyboard copies it
      getSelection().selectAllChildren(button.previousElementSibling);
      name = "copy";
    }
    button.replaceChildren(icon(name));
    button.setAttribute("aria-label", name === "check" ? "Copied" : "Selected, copy it by keyboard");
    setTimeout(() => {
      button.replaceChildren(icon("copy"));
      button.setAttribute("aria-label", "Copy");
    }, 2000);
  };

  document.addEventListener("click", (event) => {
    const link = event.target.closest?.(".as-raw");
    if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      toggleRaw(link);
      return;
    }
    const button = event.target.closest?.(".copy");
    if (button) copy(button);
  });
  for (const kind of ["pointerover", "focusin"]) {
    document.addEventListener(kind, (event) => {
      const block = event.target.closest?.(".transcript pre.code");
      if (block) withCopy(block);
    });
  }
})();
