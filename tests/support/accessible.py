"""What makes a page fit for everybody, looked for in a real one: names, landmarks, headings, contrast, width.

Own checks, of what a machine can judge: a page that passes may still be hard to use.
"""

from typing import Final

from playwright.async_api import Page

_LOOK: Final = r"""
() => {
  const faults = [];
  const shown = (e) => e.checkVisibility({ visibilityProperty: true }) && e.getClientRects().length > 0;
  const said = (e) => e.tagName + (e.id ? "#" + e.id : "") + " " + (e.textContent || "").trim().slice(0, 40);
  const name = (e) => (e.getAttribute("aria-label") || (e.getAttribute("aria-labelledby") || "").split(" ")
    .map((id) => document.getElementById(id)?.textContent || "").join(" ") || e.textContent || e.title || "").trim();
  if (!document.documentElement.lang) faults.push("no language");
  if (!document.title) faults.push("no title");
  if (document.querySelectorAll("h1").length !== 1) faults.push("not one h1");
  if (document.querySelectorAll("main").length !== 1) faults.push("not one main");
  let before = 0;
  for (const h of [...document.querySelectorAll("h1,h2,h3,h4")].filter(shown)) {
    const level = Number(h.tagName[1]);
    if (level > before + 1) faults.push("a heading is skipped before " + said(h));
    before = level;
  }
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  for (const id of new Set(ids.filter((id, at) => ids.indexOf(id) !== at))) faults.push("id twice: " + id);
  for (const e of document.querySelectorAll("[aria-describedby],[aria-labelledby]"))
    for (const id of ["describedby", "labelledby"].flatMap((n) => (e.getAttribute("aria-" + n) || "").split(" ")))
      if (id && !document.getElementById(id)) faults.push("points at nothing: " + id);
  for (const e of [...document.querySelectorAll("input,select,textarea")].filter(shown))
    if (!e.labels?.length && !e.getAttribute("aria-label")) faults.push("no label: " + said(e) + e.name);
  for (const e of [...document.querySelectorAll("button,a[href],summary")].filter(shown))
    if (!name(e) && !e.querySelector("img[alt]:not([alt=''])")) faults.push("no name: " + said(e));
  for (const e of document.querySelectorAll("img:not([alt])")) faults.push("no alt: " + e.src);
  for (const e of document.querySelectorAll("table")) {
    if (!e.querySelector("th[scope]")) faults.push("a table without headings");
  }
  if (document.documentElement.scrollWidth > window.innerWidth + 1)
    faults.push("wider than the screen: " + document.documentElement.scrollWidth);
  for (const e of document.querySelectorAll("[style],style,script:not([src])")) faults.push("inline: " + e.tagName);
  for (const e of document.querySelectorAll("*"))
    for (const a of e.attributes) if (a.name.startsWith("on")) faults.push("inline handler: " + a.name);

  const rgb = (text) => { const p = text.match(/[\d.]+/g).map(Number); return p.length < 4 ? [...p, 1] : p; };
  const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => [r, g, b].map((v) => linear(v / 255))
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (e) => { for (let at = e; at; at = at.parentElement) {
    const c = rgb(getComputedStyle(at).backgroundColor); if (c[3] === 1) return c; } return [255, 255, 255, 1]; };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = new Set();
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || seen.has(e) || !shown(e)) continue;
    if (e.closest("svg,:disabled,.skip,.visually-hidden")) continue;
    seen.add(e);
    const style = getComputedStyle(e), one = light(rgb(style.color)), other = light(behind(e));
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) faults.push("contrast " + ratio.toFixed(2) + ": " + said(e));
  }
  return faults;
}
"""


async def faults(page: Page) -> list[str]:
    """What is wrong with the page as it is shown now; nothing, in a good one."""
    found: list[str] = await page.evaluate(_LOOK)
    return found
