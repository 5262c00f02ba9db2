// Draws every plot in the page's own colours and at the width it has: on loading, on a change of width or of
// the reader's colour scheme, and for paper, which is always light.
"use strict";

const plots = [...document.querySelectorAll(".plot")];
const dark = matchMedia("(prefers-color-scheme: dark)");
const themed = /^var\((--[\w-]+)\)$/;
const plain = 17; // pixels of the page's text for which the plots' sizes are made

function draw(plot) {
  const style = getComputedStyle(document.documentElement);
  const scale = parseFloat(style.fontSize) / plain;
  const named = (key, value) => {
    if (typeof value === "number") return ["size", "height", "yshift", "xshift"].includes(key) ? value * scale : value;
    const match = typeof value === "string" && value.match(themed);
    return match ? style.getPropertyValue(match[1]).trim() : value;
  };
  const { data, layout } = JSON.parse(plot.nextElementSibling.textContent, named);
  plot.dataset.width = plot.clientWidth;
  Plotly.react(plot, data, { ...layout, width: plot.clientWidth }, { displayModeBar: false });
}

const drawAll = () => plots.forEach(draw);

function paper(on) {
  document.documentElement.classList.toggle("paper", on);
  drawAll();
}

drawAll();
dark.addEventListener("change", drawAll);
addEventListener("beforeprint", () => paper(true));
addEventListener("afterprint", () => paper(false));
const widths = new ResizeObserver((changes) => {
  for (const { target } of changes) {
    if (Number(target.dataset.width) !== target.clientWidth) requestAnimationFrame(() => draw(target));
  }
});
plots.forEach((plot) => widths.observe(plot));
