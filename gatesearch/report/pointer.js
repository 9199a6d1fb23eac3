/* Puts the marks of a figure over its drawing. A pointer shows the card of the nearest mark, and a click or a tap keeps
   it. With the keyboard, a figure is one stop: arrow keys go from mark to mark, Enter keeps a card, Escape closes it. */
"use strict";
(() => {
  const NEAR_PX = 28, LEAST_PX = 12;
  const constants = JSON.parse(document.getElementById("constants-data")?.textContent ?? "[]");
  const element = (name, kind, text) => {
    const made = document.createElement(name);
    if (kind) made.className = kind;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const badge = (word) => element("span", `badge ${word}`, word);

  function fill(card, mark, hint) {
    card.replaceChildren(element("b", "", mark.title));
    const table = element("dl");
    for (const [label, value, provenance] of mark.rows) {
      const line = element("dd", "", `${value} `);
      if (provenance) line.append(badge(provenance));
      table.append(element("dt", "", label), line);
    }
    card.append(table);
    if (mark.constants.length) {
      const list = element("ul"), details = element("details");
      for (const place of mark.constants) {
        const [path, value, provenance, source] = constants[place];
        const item = element("li");
        item.title = source;
        item.append(element("code", "", path), ` ${value} `, badge(provenance));
        list.append(item);
      }
      details.append(element("summary", "", `${mark.constants.length} constant${mark.constants.length > 1 ? "s" : ""} behind it`), list);
      card.append(details);
    }
    if (mark.command) {
      const line = element("div", "command"), copy = element("button", "copy", "copy");
      copy.type = "button";
      copy.addEventListener("click", async () => {
        try { await navigator.clipboard.writeText(mark.command); copy.textContent = "copied"; }
        catch { getSelection().selectAllChildren(line.firstChild); copy.textContent = "selected"; }
      });
      line.append(element("code", "", mark.command), copy);
      card.append(line);
    }
    card.append(element("small", "", hint));
  }

  for (const data of document.querySelectorAll("script.marks")) {
    const marks = JSON.parse(data.textContent), picture = data.parentElement;
    const card = element("div", "card"), layer = element("div", "layer");
    let shown = -1, kept = false, current = 0;
    card.setAttribute("role", "status");
    card.hidden = true;
    layer.setAttribute("role", "group");
    layer.setAttribute("aria-label", `${marks.length} marks; arrow keys go from mark to mark`);
    const buttons = marks.map(({ at: [left, top, width, height], title, rows }, place) => {
      const button = element("button", "spot");
      button.type = "button";
      button.tabIndex = place ? -1 : 0;
      button.setAttribute("aria-label", [title, ...rows.map(([label, value]) => `${label} ${value}`)].join(", "));
      Object.assign(button.style, {
        left: `calc(${left + width / 2}% - max(${width / 2}%, ${LEAST_PX / 2}px))`, width: `max(${width}%, ${LEAST_PX}px)`,
        top: `calc(${top + height / 2}% - max(${height / 2}%, ${LEAST_PX / 2}px))`, height: `max(${height}%, ${LEAST_PX}px)`,
      });
      button.addEventListener("focus", () => show(place, kept));
      button.addEventListener("blur", () => { if (!kept) hide(); });
      layer.append(button);
      return button;
    });

    function show(place, keep) {
      if (place !== shown || keep !== kept) {
        fill(card, marks[place], keep ? "Escape or a click beside it closes the card" : "click or Enter keeps the card");
        buttons[shown]?.classList.remove("shown");
        buttons[place].classList.add("shown");
      }
      [shown, kept] = [place, keep];
      card.hidden = false;
      card.classList.toggle("kept", keep);
      const [left, top, width, height] = marks[place].at, box = picture.getBoundingClientRect();
      const x = (left + width / 2) / 100 * box.width, y = (top + height) / 100 * box.height;
      card.style.left = `${Math.max(0, Math.min(x - card.offsetWidth / 2, box.width - card.offsetWidth))}px`;
      card.style.top = `${y + 14}px`;
    }
    function hide() {
      buttons[shown]?.classList.remove("shown");
      [shown, kept] = [-1, false];
      card.hidden = true;
    }
    function nearest(event) {
      const box = picture.getBoundingClientRect();
      let best = -1, least = NEAR_PX;
      marks.forEach(({ at: [left, top, width, height] }, place) => {
        const x = (event.clientX - box.left) / box.width * 100, y = (event.clientY - box.top) / box.height * 100;
        const dx = Math.max(left - x, 0, x - left - width) * box.width / 100;
        const dy = Math.max(top - y, 0, y - top - height) * box.height / 100;
        const distance = Math.hypot(dx, dy);
        if (distance < least) [best, least] = [place, distance];
      });
      return best;
    }
    function focus(place) {
      buttons[current].tabIndex = -1;
      current = (place + marks.length) % marks.length;
      buttons[current].tabIndex = 0;
      buttons[current].focus();
    }

    picture.addEventListener("pointermove", (event) => {
      if (kept || event.pointerType === "touch" || card.contains(event.target)) return;
      const place = nearest(event);
      if (place < 0) hide(); else show(place, false);
    });
    picture.addEventListener("pointerleave", () => { if (!kept) hide(); });
    picture.addEventListener("click", (event) => {
      if (card.contains(event.target)) return;
      if (event.detail === 0) { show(current, true); return; }  // Enter or Space on a mark
      const place = nearest(event);
      if (place < 0 || (kept && place === shown)) hide(); else show(place, true);
    });
    document.addEventListener("click", (event) => { if (kept && !picture.contains(event.target)) hide(); });
    picture.addEventListener("keydown", (event) => {
      const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
      if (event.key === "Escape") hide();
      else if (!event.target.classList.contains("spot")) return;
      else if (event.key in steps) { kept = false; focus(current + steps[event.key]); }
      else if (event.key === "Home") focus(0);
      else if (event.key === "End") focus(-1);
      else return;
      event.preventDefault();
    });
    picture.append(layer, card);
    picture.classList.add("live");
  }
})();
