// Draws each [data-figure] with plotly, in the colours of the scheme, and again when the scheme changes. The table below each chart says the
// same, so a page without this script, or with a browser that cannot draw, lacks nothing.
(() => {
  "use strict";

  const read = (id) => JSON.parse(document.getElementById(id)?.textContent ?? "null");
  const night = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(width < 40rem)");
  const isDark = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : night.matches;
  };

  // the figure says which series, the theme which colour
  const coloured = (trace, theme) => {
    const colour = (number) => theme.series[number - 1];
    const series = trace.meta.series;
    return {
      ...trace,
      marker: { ...trace.marker, color: Array.isArray(series) ? series.map(colour) : colour(series), line: { color: theme.gap, width: 1 } },
      ...(trace.text ? { textfont: { color: theme.hover.font.color } } : {}),
    };
  };
  const axis = (own, theme) => ({
    ...own,
    color: theme.text,
    gridcolor: theme.grid,
    linecolor: theme.axis,
    zerolinecolor: theme.axis,
    tickfont: { color: theme.text },
  });

  const draw = (place) => {
    const figure = read(place.dataset.figure);
    const theme = read("chart-themes")?.[isDark() ? "dark" : "light"];
    if (!window.Plotly || !figure || !theme) return;
    const layout = {
      ...figure.layout,
      template: "none",
      height: place.clientHeight,
      font: { ...figure.layout.font, family: getComputedStyle(place).fontFamily, color: theme.text },
      hoverlabel: { ...theme.hover, align: "left", namelength: -1, font: { ...theme.hover.font, size: 12 } },
      xaxis: axis(figure.layout.xaxis, theme),
      yaxis: axis(figure.layout.yaxis, theme),
    };
    const data = figure.data.map((trace) => coloured(trace, theme));
    Plotly.react(place, data, layout, figure.config);
    if (place.dataset.links && !place.dataset.drawn) {
      // a bar leads where its row of the table leads; the table has the newest first
      place.on("plotly_click", (event) => {
        const rows = document.querySelectorAll(`#${place.dataset.links} tbody tr`);
        rows[rows.length - 1 - event.points[0].pointIndex]?.querySelector("a")?.click();
      });
    }
    place.dataset.drawn = "yes";
  };
  const drawAll = () => document.querySelectorAll("[data-figure]").forEach(draw);

  drawAll();
  document.addEventListener("htmx:afterSwap", drawAll);
  document.addEventListener("htmx:historyRestore", drawAll);
  // plotly keeps listeners for the window's size: what a swap removes has to be told
  document.addEventListener("htmx:beforeCleanupElement", (event) => {
    if (event.target.dataset?.drawn && window.Plotly) Plotly.purge(event.target);
  });
  for (const query of [night, narrow, matchMedia("(prefers-contrast: more)")]) query.addEventListener("change", drawAll);
  new MutationObserver(drawAll).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
})();
