// What plain HTML cannot do: following a job, copying to the clipboard, rolling a seed, and closing what Escape should
// close.
// Everything else works without it. No page has a script of its own.
"use strict";

function copied(button) {
  const said = button.querySelector("[data-copied]") || button;
  const before = said.textContent;
  said.textContent = "Copied";
  window.setTimeout(() => { said.textContent = before; }, 1600);
}

function select(element) {
  const range = document.createRange();
  range.selectNodeContents(element);
  const selection = window.getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) {
    const source = document.getElementById(button.dataset.copy);
    // Without a secure context there is no clipboard: then it is selected, for the hand to copy.
    if (navigator.clipboard) {
      navigator.clipboard.writeText(source.textContent).then(() => copied(button), () => select(source));
    } else {
      select(source);
    }
    return;
  }
  const roll = event.target.closest("[data-roll]");
  if (roll) {
    const field = document.getElementById(roll.dataset.roll);
    const most = Number(field.max) + 1;
    field.value = String(crypto.getRandomValues(new Uint32Array(1))[0] % most);
    field.dispatchEvent(new Event("change", { bubbles: true }));
    return;
  }
  for (const open of document.querySelectorAll("details.confirm[open]")) {
    if (!open.contains(event.target)) {
      open.open = false;
    }
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    for (const open of document.querySelectorAll("details.confirm[open], details.drawer[open]")) {
      open.open = false;
      open.querySelector("summary").focus();
    }
  }
  // The playground's prompt: send it without leaving the text.
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.matches("textarea[data-send]")) {
    event.target.form.requestSubmit();
  }
});

// A part of a page that could not be had is said, not passed over in silence.
document.addEventListener("htmx:sendError", () => {
  const place = document.getElementById("notices");
  if (place) {
    const told = document.createElement("div");
    told.className = "notice bad";
    told.setAttribute("role", "alert");
    told.textContent = "Torii does not answer. Accepted jobs go on; try again in a moment.";
    place.replaceChildren(told);
  }
});

// A job that is watched. The gateway says when it has changed, and the part of the page that shows it is asked for anew.
// Where no stream comes through, through a proxy or for want of a seat, it is asked for every few seconds instead.
const QUIET_MS = 14000; // The gateway says something every 10 s.
const following = { address: "", source: null, heardAt: 0, askedAt: 0, asking: false, again: false };

function followed() {
  return document.querySelector("[data-follow]");
}

async function ask() {
  following.again = true;
  if (following.asking) {
    return;
  }
  following.asking = true;
  while (following.again) {
    // What changes from here on is asked for once more.
    following.again = false;
    following.askedAt = Date.now();
    const part = followed();
    if (part) {
      await window.htmx.ajax("GET", part.dataset.part, { target: part, swap: "outerHTML" }).catch(() => {});
    }
  }
  following.asking = false;
  follow();
}

function follow() {
  const part = followed();
  // A page that nobody looks at keeps no connection: a browser has few for one host.
  const address = part && !document.hidden ? part.dataset.follow : "";
  if (address === following.address) {
    return;
  }
  if (following.source) {
    following.source.close();
  }
  Object.assign(following, { address, source: null, heardAt: 0, askedAt: Date.now() });
  if (address) {
    following.source = new EventSource(address);
    following.source.addEventListener("message", () => {
      following.heardAt = Date.now();
      ask();
    });
  }
}

window.setInterval(() => {
  const part = followed();
  if (!part || document.hidden) {
    return;
  }
  for (const bar of part.querySelectorAll("progress[data-moves]")) {
    bar.value = Math.max(bar.value, Math.min(bar.value + Number(bar.dataset.moves), 0.97));
  }
  const now = Date.now();
  if (now - following.heardAt > QUIET_MS && now - following.askedAt >= Number(part.dataset.again) * 1000) {
    ask();
  }
}, 1000);

document.addEventListener("visibilitychange", follow);
document.addEventListener("htmx:afterSettle", follow);
document.addEventListener("DOMContentLoaded", follow);
