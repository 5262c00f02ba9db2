"use strict";
const one = (selector, place = document) => place.querySelector(selector);
const all = (selector, place = document) => [...place.querySelectorAll(selector)];
const human = (value) => {
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]])
    if (value >= size) return `${(value / size).toPrecision(3)} ${unit}`;
  return String(Math.round(value));
};
const element = (name, attributes = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};
const svg = (name, attributes = {}, text = "") => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
};

async function ask(address, body, raw = false) {
  const options = body === undefined ? {} : { method: "POST", body: raw ? body : JSON.stringify(body),
    headers: { "Content-Type": raw ? "application/octet-stream" : "application/json" } };
  let response;
  try { response = await fetch(address, options); } catch { return { error: "the studio does not answer; start it again" }; }
  try { return await response.json(); } catch { return { error: `the studio failed (status ${response.status})` }; }
}

function show(name, answer) {
  one(`[data-error="${name}"]`).textContent = answer.error || "";
  if (answer.error) return false;
  const same = one(`[data-same="${name}"]`);
  same.hidden = !answer.command;
  one("[data-command]", same).textContent = answer.command;
  one("[data-python]", same).textContent = answer.python;
  one(`[data-html="${name}"]`).innerHTML = answer.html || "";
  return true;
}

function values(form) {
  const found = {};
  for (const field of form.elements) {
    if (!field.name) continue;
    if (field.type === "checkbox") found[field.name] = field.checked;
    else if (field.value !== "") found[field.name] = ["range", "number"].includes(field.type) ? Number(field.value) : field.value;
  }
  return found;
}

/* Tabs: arrow keys, Home and End move between them. */
function choose(tab, focus = true) {
  for (const each of all('[role="tab"]')) {
    const chosen = each === tab;
    each.setAttribute("aria-selected", chosen);
    each.tabIndex = chosen ? 0 : -1;
    one(`#${each.getAttribute("aria-controls")}`).hidden = !chosen;
  }
  if (focus) tab.focus();
  history.replaceState(null, "", `#${tab.textContent}`);
}
const tabs = all('[role="tab"]');
for (const tab of tabs) {
  tab.addEventListener("click", () => choose(tab));
  tab.addEventListener("keydown", (event) => {
    const index = tabs.indexOf(tab);
    const next = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (next !== undefined) { event.preventDefault(); choose(tabs[(next + tabs.length) % tabs.length]); }
  });
}
const named = tabs.find((tab) => `#${tab.textContent}` === location.hash);
if (named) choose(named, false);

/* Charts. */
function bars(stages) {
  const total = Math.max(...stages.map((each) => each.macs), 1);
  const chart = svg("svg", { class: "chart", viewBox: `0 0 400 ${stages.length * 22 + 4}`, role: "img",
    "aria-label": `MACs by stage: ${stages.map((each) => `${each.name} ${human(each.macs)}`).join(", ")}` });
  stages.forEach((each, row) => {
    chart.append(svg("text", { x: 0, y: row * 22 + 15 }, each.name.slice(0, 13)),
      svg("rect", { class: "bar", x: 90, y: row * 22 + 4, height: 14, width: Math.max(1, each.macs / total * 220) }),
      svg("text", { x: 96 + each.macs / total * 220, y: row * 22 + 15 }, `${human(each.macs)} MACs`));
  });
  return chart;
}

function scatter(networks, here) {
  const points = [...networks, here];
  const range = (key) => [Math.min(...points.map((p) => Math.log10(p[key]))), Math.max(...points.map((p) => Math.log10(p[key])))];
  const [left, right] = range("macs"), [low, high] = range("params");
  const x = (p) => 44 + (Math.log10(p.macs) - left) / (right - left || 1) * 340;
  const y = (p) => 220 - (Math.log10(p.params) - low) / (high - low || 1) * 205;
  const chart = svg("svg", { class: "chart", viewBox: "0 0 400 250", role: "img",
    "aria-label": `Parameters over MACs of ${networks.length} networks; this one has ${human(here.params)} and ${human(here.macs)}` });
  chart.append(svg("path", { class: "axis", d: "M40 5V225H395" }), svg("text", { x: 395, y: 249, "text-anchor": "end" }, "MACs"),
    svg("text", { x: 46, y: 14 }, "parameters"));
  for (let power = Math.ceil(left); power <= right; power++)
    chart.append(svg("text", { x: x({ macs: 10 ** power }), y: 237, "text-anchor": "middle" }, human(10 ** power).replace(/\.0+/, "")));
  for (let power = Math.ceil(low); power <= high; power++)
    chart.append(svg("text", { x: 36, y: y({ params: 10 ** power }) + 4, "text-anchor": "end" }, human(10 ** power).replace(/\.0+/, "")));
  for (const p of networks) {
    const dot = svg("circle", { class: "dot", cx: x(p), cy: y(p), r: 3 });
    dot.append(svg("title", {}, `${p.name}: ${human(p.params)} parameters, ${human(p.macs)} MACs${p.top1 ? `, ImageNet top-1 ${p.top1} %` : ""}`));
    chart.append(dot);
  }
  chart.append(svg("circle", { class: "here", cx: x(here), cy: y(here), r: 6 }));
  return chart;
}

function curves(runs, measure) {
  const series = runs.map((run) => run.curves.map((row) => [row.epoch, measure === "loss" ? row.val_loss : row.val_accuracy ?? row.val_map])
    .filter(([a, b]) => Number.isFinite(a) && Number.isFinite(b)));
  const points = series.flat();
  if (!points.length) return element("p", { class: "note" }, "No validation yet.");
  const right = Math.max(...points.map((p) => p[0])), top = measure === "loss" ? Math.max(...points.map((p) => p[1])) : 1;
  const chart = svg("svg", { class: "chart", viewBox: "0 0 400 170", role: "img",
    "aria-label": `Validation ${measure} by epoch of ${runs.map((run) => run.run).join(", ")}` });
  const x = (value) => 44 + value / (right || 1) * 345, y = (value) => 145 - value / (top || 1) * 130;
  chart.append(svg("path", { class: "axis", d: "M40 10V148H395" }), svg("text", { x: 200, y: 166 }, "epochs"),
    svg("text", { x: 36, y: 18, "text-anchor": "end" }, top.toPrecision(2)), svg("text", { x: 36, y: 148, "text-anchor": "end" }, "0"),
    svg("text", { x: 395, y: 160, "text-anchor": "end" }, right.toPrecision(3)));
  series.forEach((line, index) => {
    const colour = `var(--network-${index % 8})`;
    chart.append(svg("polyline", { points: line.map((p) => `${x(p[0])},${y(p[1])}`).join(" "), fill: "none", stroke: colour, "stroke-width": 2 }));
    for (const p of line) chart.append(svg("circle", { cx: x(p[0]), cy: y(p[1]), r: 2.5, fill: colour }));
  });
  return chart;
}

/* Network. */
let zoo = [], asking = false, again = false;
const network = one('[data-live="network"]');
async function update() {
  if (asking) { again = true; return; }
  asking = true;
  const question = values(network);
  if (!question.resolution) delete question.resolution;
  for (const output of all("output", network)) output.textContent = one(`#${output.htmlFor}`).value.replace(/^0$/, output.htmlFor.value === "resolution" ? "unchanged" : "0");
  const answer = await ask("/api/network", { expression: "", ...question });
  if (!answer.error) {
    one("#totals").textContent = `${answer.expression}: ${human(answer.params)} parameters, ${human(answer.macs)} MACs`;
    one("#stages").replaceChildren(bars(answer.stages));
    if (zoo.length) {
      one("#position").replaceChildren(scatter(zoo, answer));
      const far = (p) => Math.abs(Math.log(p.macs / answer.macs)) + Math.abs(Math.log(p.params / answer.params));
      const near = zoo.filter((p) => p.top1).sort((a, b) => far(a) - far(b)).slice(0, 3);
      one("#nearest").textContent = `Nearest with published ImageNet top-1: ${near.map((p) => `${p.name} ${p.top1} %`).join(", ")}.`;
    }
  }
  /* The drawing below is large: it follows in the next frame, and not while a slider moves. */
  if (!answer.error) await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  asking = false;
  if (again) { again = false; update(); } else show("network", answer);
}
network.addEventListener("input", update);
network.addEventListener("submit", (event) => event.preventDefault());
ask("/api/published").then((found) => { if (!found.error) zoo = found; update(); });
for (const output of all("form:not([data-live]) output")) {
  const field = one(`#${output.htmlFor}`), write = () => { output.textContent = field.value; };
  field.addEventListener("input", write);
  write();
}

/* Forms. */
async function waiting(form, work) {
  const buttons = all("button", form);
  for (const button of buttons) button.disabled = true;
  form.setAttribute("aria-busy", "true");
  try { return await work(); } finally {
    form.removeAttribute("aria-busy");
    for (const button of buttons) button.disabled = false;
  }
}
for (const form of all("form[data-post]"))
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const name = form.dataset.post;
    const body = name === "compare" ? { runs: chosen() } : values(form);
    const answer = await waiting(form, () => ask(`/api/${name}`, body));
    if (show(name, answer) && name === "compare")
      one("#curves").replaceChildren(legend(answer.runs),
        element("h3", {}, "Accuracy on validation images"), curves(answer.runs, "accuracy"),
        element("h3", {}, "Loss on validation images"), curves(answer.runs, "loss"));
  });
for (const form of all("form[data-task]"))
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    start(form.dataset.task, { ...values(form), kind: form.dataset.task }, form);
  });
async function start(name, task, form) {
  const answer = await waiting(form, () => ask("/api/start", task));
  if (answer.job) answer.html = `<p role="status">Started as process ${Number(answer.job)}.</p>`;
  show(name, answer);
}
const chosen = () => all("#chosen input:checked").map((field) => field.value);
one("#report").addEventListener("click", () => start("compare", { kind: "report", runs: chosen() }, one('[data-post="compare"]')));
const legend = (runs) => {
  const list = element("ul", { class: "legend" });
  runs.forEach((run, index) => {
    const line = element("span", { class: "line" });
    line.style.borderColor = `var(--network-${index % 8})`;
    list.append(element("li", {}, line, ` ${run.run}`));
  });
  return list;
};
for (const form of all("form[data-upload]")) {
  const name = form.dataset.upload, field = one('input[type="file"]', form), drop = one(".drop", form);
  const send = async (file) => {
    if (!file) return;
    const model = one("select", form).value;
    show(name, await waiting(form, () => ask(`/api/explain?model=${encodeURIComponent(model)}`, file, true)));
  };
  form.addEventListener("submit", (event) => event.preventDefault());
  field.addEventListener("change", () => send(field.files[0]));
  one("select", form).addEventListener("change", () => send(field.files[0]));
  for (const kind of ["dragover", "dragleave", "drop"])
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
      if (kind === "drop") send(event.dataTransfer.files[0]);
    });
}

/* The folder: lists, runs and processes, as they change. */
function options(select, names) {
  const before = select.value, list = names.join("\n");
  if (select.dataset.names === list) return;
  select.dataset.names = list;
  select.replaceChildren(...names.map((name) => element("option", { value: name }, name)));
  if (names.includes(before)) select.value = before;
}
const keep = (place, text, children) => {
  if (place.dataset.shown === text) return;
  const focused = document.activeElement && place.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  place.dataset.shown = text;
  place.replaceChildren(...children());
  if (focused) one(`[data-key="${CSS.escape(focused)}"]`, place)?.focus();
};
function button(text, key, work) {
  const made = element("button", { type: "button", "data-key": key }, text);
  made.addEventListener("click", async () => { made.disabled = true; await work(); made.disabled = false; });
  return made;
}
const link = (name) => element("a", { href: `/pages/${name.split("/").map(encodeURIComponent).join("/")}`, target: "_blank", rel: "noopener" }, name);
function jobCard(job, where, jobs) {
  const card = element("article", { class: "card" }, element("h3", {}, `Process ${job.number}: ${job.kind}, ${job.state}`),
    element("pre", { tabindex: 0 }, element("code", {}, job.command)));
  if (job.output.trim()) card.append(element("pre", { class: "output", tabindex: 0, "aria-label": `Output of process ${job.number}` }, job.output.trim()));
  if (job.state === "running") card.append(button("Stop", `stop-${where}-${job.number}`, async () => {
    const answer = await ask(`/api/stop/${job.number}`, {});
    if (answer.error) one('[data-error="runs"]').textContent = answer.error;
  }));
  const again = jobs.some((other) => other.number > job.number && other.result === job.result);
  if (job.kind.endsWith("design") && ["stopped", "failed"].includes(job.state) && !again)
    card.append(button("Resume", `resume-${where}-${job.number}`, async () => {
      show("runs", await ask("/api/start", { kind: "resume-design", run: job.result }));
    }));
  const page = job.kind.endsWith("design") ? `${job.result}/dossier.html` : job.result;
  if (job.state === "finished" && page.endsWith(".html")) card.append(element("p", {}, link(page)));
  return card;
}
function runCard(run) {
  const card = element("article", { class: "card" }, element("h3", {}, `${run.run}: ${run.state}`), element("p", { class: "note" }, run.network));
  if (run.curves.length) card.append(element("p", { class: "note" }, "Accuracy on validation images"), curves([run], "accuracy"));
  if (run.state === "unfinished") card.append(button("Resume", `resume-${run.run}`, async () => {
    show("runs", await ask("/api/start", { kind: "resume", run: run.run }));
  }));
  return card;
}
function draw(state) {
  const runs = state.runs.map((run) => run.run);
  const lists = { runs, data: state.data, models: state.models, all: [...runs, ...state.models] };
  for (const select of all("[data-list]")) options(select, lists[select.dataset.list]);
  one('[data-missing="curation"]').hidden = state.curation;
  const none = (text) => element("p", { class: "note" }, text);
  keep(one("#runs"), JSON.stringify(state.runs), () => (state.runs.length ? state.runs.map(runCard) : [none("There are no runs in this folder yet.")]));
  for (const [where, kinds] of [["jobs", null], ["jobs-ship", ["export", "bench"]]]) {
    const shown = state.jobs.filter((job) => !kinds || kinds.includes(job.kind));
    keep(one(`#${where}`), JSON.stringify(shown), () => (shown.length ? shown.map((job) => jobCard(job, where, state.jobs)) : [none("No process was started from here.")]));
  }
  keep(one("#pages"), JSON.stringify(state.pages), () => state.pages.map((name) => element("li", {}, link(name))));
  const before = chosen();
  keep(one("#chosen"), runs.join("\n"), () => runs.map((name, index) => {
    const field = element("input", { type: "checkbox", value: name, id: `chosen-${index}`, "data-key": name });
    field.checked = before.includes(name);
    return element("label", { class: "check", for: `chosen-${index}` }, field, name);
  }));
}
const events = new EventSource("/api/events");
events.addEventListener("message", (event) => draw(JSON.parse(event.data)));
