"""Figures as Plotly figures and as HTML for notebooks, in the light colours of our pages."""

import re
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from math import ceil
from secrets import token_hex
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs, get_plotlyjs_version
from plotly.subplots import make_subplots

from convwright.display.figures import Figure, Gallery, Panel

STYLE_SHEET = files("convwright.display") / "templates" / "page.css"
PALETTE = dict(re.findall(r"(--[\w-]+): ([^;]+);", STYLE_SHEET.read_text(encoding="utf-8").partition("}")[0]))
"""The light colours and fonts of the pages' style sheet, by variable."""
CDN = "https://cdn.plot.ly/plotly-"
DRAW = (
    "(()=>{const plots={%s};const draw=()=>{for(const [id,plot] of Object.entries(plots)){"
    "const place=document.getElementById(id);"
    "if(place)Plotly.newPlot(place,plot.data,plot.layout,{displayModeBar:false,responsive:true})}};"
    "if(window.Plotly)return draw();const define=window.define;window.define=undefined;"  # else it loads as a module
    'const script=document.createElement("script");script.src="%s";'
    "script.onload=()=>{window.define=define;draw()};document.head.append(script)})()"
)
"""Script that draws all plots once their places exist, and loads Plotly before if the page lacks it."""
COLUMNS = 3
"""Most panels in a row of a Plotly figure."""
ROW_GAP, TOP, BOTTOM = 90, 70, 60
"""Pixels between rows of panels, above the first and below the last."""
PIXELATED = ' style="image-rendering:pixelated"'
STYLE = (
    "<style>.convwright .panels{display:grid;gap:.6em 1.5em;"
    "grid-template-columns:repeat(auto-fit,minmax(min(100%,20em),1fr))}.convwright .panel{min-width:0;overflow:hidden}"
    ".convwright .pictures{display:flex;flex-wrap:wrap;gap:.7em;margin:.5em 0}.convwright .pictures figure{margin:0;"
    "width:9em}.convwright .pictures img{width:100%}.convwright figcaption{overflow-wrap:anywhere}"
    ".convwright .key{display:inline-block;width:1.6em;border-top:3px solid;vertical-align:middle;margin:0 .3em 0 1em}"
    "</style>"
)


def as_plotly(figure: Figure, *, columns: int = COLUMNS) -> go.Figure:
    """Return one Plotly figure with every panel of a figure.

    Args:
        figure: The figure; its pictures are left out.
        columns: Most panels in a row.
    """
    panels = figure.panels
    columns = max(1, min(columns, len(panels)))
    rows = max(1, ceil(len(panels) / columns))
    tallest = max((panel.plot.layout.height or 0 for panel in panels), default=0) or 300
    height = TOP + rows * tallest + (rows - 1) * ROW_GAP + BOTTOM
    gap = ROW_GAP / (height - TOP - BOTTOM) if rows > 1 else 0.0
    titles = [escape(panel.heading) for panel in panels]
    bars = any(trace.type == "heatmap" for panel in panels for trace in panel.plot.data)
    beside = (0.14 if bars else 0.07) if columns > 1 else 0.0
    joined = make_subplots(rows, columns, subplot_titles=titles, vertical_spacing=gap, horizontal_spacing=beside)
    for index, panel in enumerate(panels):
        _add(joined, panel, index // columns + 1, index % columns + 1)
    for colour, name in figure.keys:
        line = {"color": colour, "width": 2.5}
        joined.add_scatter(x=[None], y=[None], mode="lines", line=line, name=escape(name), showlegend=True)
    joined.update_annotations(font_size=12)
    joined.update_layout(
        template=go.layout.Template(),
        title={"text": escape(figure.title), "font": {"size": 17, "color": "var(--ink)"}},
        height=height,
        margin={"l": 60, "r": 30, "t": TOP, "b": BOTTOM},
        paper_bgcolor="var(--paper)",
        plot_bgcolor="var(--paper)",
        font={"family": "var(--font)", "size": 12, "color": "var(--muted)"},
        legend={"orientation": "h", "y": -BOTTOM / (height - TOP - BOTTOM) / 1.4, "yanchor": "top"},
        showlegend=bool(figure.keys),
    )
    return coloured(joined)


def coloured(plot: go.Figure) -> go.Figure:
    """Return a copy of a plot in which the light colours stand for the variables of the style sheet."""
    return go.Figure(_resolved(plot.to_plotly_json()))


def figures_html(figures: Iterable[Figure], *, offline: bool = False) -> str:
    """Return figures as HTML: plots side by side, pictures and captions.

    Args:
        figures: What to show.
        offline: Whether Plotly's script (4.5 MB) is part of the HTML; otherwise a browser loads it from the network.
    """
    parts = [STYLE]
    plots: dict[str, str] = {}
    for figure in figures:
        parts += [f"<h4>{escape(figure.title)}</h4>", _keys(figure)]
        places = {f"plot-{token_hex(8)}": panel for panel in figure.panels}
        plots |= {place: _plot_json(panel) for place, panel in places.items()}
        panels = "".join(_panel(place, panel) for place, panel in places.items())
        parts.append(f'<div class="panels">{panels}</div>' if panels else "")
        parts += map(_gallery, figure.galleries)
        parts += [f"<p>{escape(text)}</p>" for text in (figure.caption, *figure.findings) if text]
    if plots:
        listed = ",".join(f'"{place}":{plot}' for place, plot in plots.items())
        script = f"<script>{get_plotlyjs()}</script>" if offline else ""
        parts.append(f"{script}<script>{DRAW % (listed, f'{CDN}{get_plotlyjs_version()}.min.js')}</script>")
    return "".join(parts)


def _panel(place: str, panel: Panel) -> str:
    height = panel.plot.layout.height or 300
    return (
        f'<div class="panel"><b>{escape(panel.heading)}</b><div id="{place}" class="plot" role="img" '
        f'aria-label="{escape(panel.alt)}" style="min-height:{height}px"></div></div>'
    )


def _plot_json(panel: Panel) -> str:
    plot = coloured(panel.plot)
    plot.update_layout(paper_bgcolor=PALETTE["--paper"])
    return str(plot.to_json()).replace("<", "\\u003c")


def _gallery(gallery: Gallery) -> str:
    pictures = "".join(
        f'<figure><img src="{picture.uri}" alt="{escape(picture.alt)}"{PIXELATED * picture.pixelated}>'
        f"<figcaption>{'<br>'.join(map(escape, picture.lines))}</figcaption></figure>"
        for picture in gallery.pictures
    )
    heading = f"<b>{escape(gallery.heading)}</b>" if gallery.heading else ""
    return f'{heading}<div class="pictures">{pictures}</div>'


def _keys(figure: Figure) -> str:
    keys = "".join(
        f'<span class="key" style="color:{_resolved(colour)}"></span>{escape(name)}' for colour, name in figure.keys
    )
    return f"<p>{keys}</p>" if keys else ""


def _add(joined: go.Figure, panel: Panel, row: int, column: int) -> None:
    """Put the traces, axes, shapes and annotations of a panel into a cell of the grid."""
    layout = panel.plot.layout
    for trace in panel.plot.data:
        joined.add_trace(trace, row=row, col=column)
        joined.data[-1].update(showlegend=False)
    settings = [axis.to_plotly_json() for axis in (layout.xaxis, layout.yaxis)]
    x, y = ({key: value for key, value in one.items() if key not in ("anchor", "domain")} for one in settings)
    joined.update_xaxes(x, row=row, col=column)
    joined.update_yaxes(y, row=row, col=column)
    for shape in layout.shapes:
        joined.add_shape(shape, row=row, col=column)
    for note in layout.annotations:
        joined.add_annotation(note, row=row, col=column)
    for trace in joined.data[len(joined.data) - len(panel.plot.data) :]:
        if trace.type == "heatmap" and trace.showscale is not False:
            _place_colour_bar(joined, trace, row, column)


def _place_colour_bar(joined: go.Figure, trace: Any, row: int, column: int) -> None:
    """Put the colour bar of a heat map beside its own panel."""
    axes = joined.get_subplot(row, column)
    low, high = axes.yaxis.domain
    trace.colorbar.update(x=axes.xaxis.domain[1], y=(low + high) / 2, len=high - low, xpad=4)


def _resolved(value: Any) -> Any:
    if isinstance(value, str):
        found = re.fullmatch(r"var\((--[\w-]+)\)", value)
        return PALETTE.get(found[1], value) if found else value
    if isinstance(value, dict):
        return {key: _resolved(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_resolved(each) for each in value]
    return value
