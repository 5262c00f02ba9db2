"use strict";
const page = {{ values }};
const cards = [...document.querySelectorAll(".suspect")];
const stored = (() => {
  try { return JSON.parse(localStorage.getItem(page.key)) || {}; } catch { return {}; }
})();

function decisionOf(card) {
  const chosen = card.querySelector("input:checked");
  if (!chosen) return null;
  const select = card.querySelector("select");
  return { decision: chosen.value, label: chosen.value === "relabel" ? select.value : "" };
}

function fill(select) {
  if (select.options.length > 1) return;
  const chosen = select.value;
  select.replaceChildren(...page.classes.map((name) => new Option(name, name, name === chosen, name === chosen)));
}

function decide(card, decision, label) {
  for (const input of card.querySelectorAll("input")) input.checked = input.value === decision;
  const select = card.querySelector("select");
  if (label && select) { fill(select); select.value = label; }
  show(card);
}

function show(card) {
  const made = decisionOf(card);
  if (made) { card.dataset.decision = made.decision; stored[card.dataset.name] = made; }
  else { delete card.dataset.decision; delete stored[card.dataset.name]; }
}

function update() {
  const count = cards.filter(decisionOf).length;
  document.getElementById("count").textContent = `${count} of ${cards.length} decided`;
  document.getElementById("download").disabled = !count;
  try { localStorage.setItem(page.key, JSON.stringify(stored)); } catch { /* pages may lack storage */ }
}

function cell(text) {
  const plain = page.formulas.includes(text.charAt(0)) && text ? `'${text}` : text;
  return /[",\r\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
}

function decisionsAsCsv() {
  const rows = cards.flatMap((card) => {
    const made = decisionOf(card);
    return made ? [[card.dataset.name, made.decision, made.label]] : [];
  });
  return [page.columns, ...rows].map((row) => row.map(cell).join(",") + "\n").join("");
}

function go(from, by) {
  const next = cards[Math.min(Math.max(cards.indexOf(from) + by, 0), cards.length - 1)];
  next.focus();
  next.scrollIntoView({ block: "nearest" });
}

for (const card of cards) {
  const made = stored[card.dataset.name];
  if (made) decide(card, made.decision, made.label);
  const select = card.querySelector("select");
  if (select) {
    select.addEventListener("focus", () => fill(select));
    select.addEventListener("pointerdown", () => fill(select));
    select.addEventListener("change", () => { decide(card, "relabel"); update(); });
  }
  card.addEventListener("change", () => { show(card); update(); });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
  const card = event.target.closest(".suspect");
  const key = event.key.toLowerCase();
  if (!card) {
    if (key === "j" && cards.length) { go(cards[0], 0); event.preventDefault(); }
    return;
  }
  const proposal = card.dataset.proposal;
  const decision = { y: proposal, n: "keep", x: "drop", u: "" }[key];
  if (key !== "j" && key !== "k" && decision === undefined) return;
  event.preventDefault();
  if (decision !== undefined) { decide(card, decision); update(); }
  go(card, key === "k" ? -1 : 1);
});

document.getElementById("confident")?.addEventListener("click", () => {
  for (const card of cards) if ("confident" in card.dataset && !decisionOf(card)) decide(card, card.dataset.proposal);
  update();
});
document.getElementById("download")?.addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([decisionsAsCsv()], { type: "text/csv" }));
  link.download = "decisions.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
});
if (cards.length) update();
