// Line icons on a 24 × 24 grid. `<span data-icon="name">` in the page is filled at start.

const SHAPES = {
  panel: "M4 5h16v14H4zM9.5 5v14",
  pen: "M12 20h8M16.5 4.5l3 3L8 19l-4 1 1-4z",
  door: "M14 4h5v16h-5M10 8l-4 4 4 4M6 12h9",
  down: "M12 5v14M6 13l6 6 6-6",
  up: "M12 19V5M6 11l6-6 6 6",
  clip: "M20 11.5l-8.2 8.2a5 5 0 0 1-7-7l8.4-8.4a3.3 3.3 0 0 1 4.7 4.7l-8.2 8.2a1.7 1.7 0 0 1-2.4-2.4l7.5-7.4",
  stop: "M7.5 7.5h9v9h-9z",
  copy: "M9 9h11v11H9zM15 9V4H4v11h5",
  check: "M5 12.5l4.5 4.5L19 7.5",
  cross: "M6 6l12 12M18 6L6 18",
  dots: "M5.5 12h.01M12 12h.01M18.5 12h.01",
  chevron: "M9 6l6 6-6 6",
  mic: "M12 3a3 3 0 0 0-3 3v5a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3zM6 11a6 6 0 0 0 12 0M12 17v4",
  file: "M6 3h8l4 4v14H6zM14 3v4h4",
  retry: "M4 12a8 8 0 1 0 2.6-5.9M4 4v4.5h4.5",
};

const SVG = "http://www.w3.org/2000/svg";

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("glyph", `glyph-${name}`);
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", SHAPES[name]);
  svg.append(path);
  return svg;
}

export function drawIcons(root = document) {
  for (const node of root.querySelectorAll("[data-icon]")) {
    node.replaceChildren(icon(node.dataset.icon));
  }
}
