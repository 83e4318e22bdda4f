// Filters and sorts the cards. What is chosen stands in the address, so that a view can be kept.
"use strict";
const gallery = document.getElementById("gallery");
const controls = document.getElementById("controls");
const cards = [...gallery.children];
const place = new Map(cards.map((card, i) => [card, i]));

function matches(card, chosen) {
  const own = card.dataset;
  const size = Number(own.size);
  return (
    (!chosen.answer || own.answer === chosen.answer) &&
    (!chosen.status || own.status === chosen.status) &&
    (!chosen.right || own.right === chosen.right) &&
    (chosen.least === "" || (own.size !== "" && size >= Number(chosen.least))) &&
    (chosen.most === "" || (own.size !== "" && size <= Number(chosen.most))) &&
    (!chosen.search || own.id.toLowerCase().includes(chosen.search.toLowerCase()))
  );
}

// Cards without the number come last, whichever way is chosen.
function compared(by, down) {
  return (a, b) => {
    if (!by) return down ? place.get(b) - place.get(a) : place.get(a) - place.get(b);
    const [x, y] = [a.dataset[by], b.dataset[by]];
    if (x === "" || y === "") return (x === "") - (y === "") || place.get(a) - place.get(b);
    return (down ? y - x : x - y) || place.get(a) - place.get(b);
  };
}

function update() {
  const chosen = Object.fromEntries(new FormData(controls));
  let n = 0;
  for (const card of cards) {
    card.hidden = !matches(card, chosen);
    n += !card.hidden;
  }
  gallery.append(...[...cards].sort(compared(chosen.sort, chosen.down === "on")));
  gallery.classList.toggle("plain", chosen.anchors !== "on");
  document.getElementById("count").textContent = `${n} of ${cards.length}`;
  return chosen;
}

function remember() {
  const chosen = update();
  const kept = Object.entries(chosen).filter(([, value]) => value !== "");
  history.replaceState(null, "", "#" + new URLSearchParams(kept));
}

function recall() {
  const kept = new URLSearchParams(location.hash.slice(1));
  if (![...kept].length) return;
  for (const field of controls.elements) {
    if (!field.name) continue;
    if (field.type === "checkbox") field.checked = kept.has(field.name);
    else field.value = kept.get(field.name) ?? "";
  }
}

controls.hidden = false;
controls.addEventListener("input", remember);
controls.addEventListener("reset", () => setTimeout(remember));
controls.addEventListener("submit", (event) => event.preventDefault());
window.addEventListener("hashchange", () => { recall(); update(); });
recall();
update();
