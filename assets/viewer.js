// The picture: image, masks and outlines on one stage that zooms and moves. `element`, `trigger`, `props` and `watch`
// come from the HTML component; `trigger('click', {mode, places, more})` tells the server what was clicked or drawn, as
// [x, y] places 0-1 from the top left.
const SVG = 'http://www.w3.org/2000/svg';
const find = (name) => element.querySelector(name);
const viewer = find('.viewer'), stage = find('.stage'), base = find('.base');
const overlay = find('.overlay'), marks = find('.marks'), bar = find('.scalebar');
const BLANK = 'data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7';
let zoom = 1, left = 0, top_ = 0, shown = null, mode = 'mark', corners = [];
const drawing = () => mode === 'box' || mode === 'outline';

const size = () => (props.value && props.value.covered) || [1, 1];
const fit = () => Math.min(viewer.clientWidth / size()[1], viewer.clientHeight / size()[0]);

function place() {
  const scale = fit() * zoom, width = size()[1] * scale, height = size()[0] * scale;
  const keep = (at, length, room) => length <= room ? (room - length) / 2 : Math.min(0, Math.max(room - length, at));
  left = keep(left, width, viewer.clientWidth);
  top_ = keep(top_, height, viewer.clientHeight);
  Object.assign(stage.style, { width: width + 'px', height: height + 'px', left: left + 'px', top: top_ + 'px' });
  base.classList.toggle('coarse', base.naturalWidth > 0 && width / base.naturalWidth > 1.6);
  viewer.classList.toggle('near', zoom > 1);
  marks.classList.toggle('fine', scale < 3);
  drawPoints(scale);
  drawCorners();
  drawBar(scale);
}

function zoomTo(next, x = viewer.clientWidth / 2, y = viewer.clientHeight / 2) {
  next = Math.min(32, Math.max(1, next));
  left = x - (x - left) * next / zoom;
  top_ = y - (y - top_) * next / zoom;
  zoom = next;
  place();
}

function path(data, name, colour) {
  const line = document.createElementNS(SVG, 'path');
  line.setAttribute('d', data);
  line.setAttribute('class', name);
  if (colour) line.style.stroke = colour;
  marks.appendChild(line);
}

function drawPoints(scale) {
  marks.querySelectorAll('circle').forEach((old) => old.remove());
  for (const [row, column] of (props.value && props.value.points) || []) {
    for (const [radius, name] of [[9, 'halo'], [9, 'ring'], [1.6, 'dot']]) {
      const circle = document.createElementNS(SVG, 'circle');
      circle.setAttribute('cx', column + 0.5);
      circle.setAttribute('cy', row + 0.5);
      circle.setAttribute('r', radius / scale);
      circle.setAttribute('class', name);
      marks.appendChild(circle);
    }
  }
}

// The outline that the server knows, or the one that is being drawn.
function drawCorners() {
  marks.querySelectorAll('.drawn').forEach((old) => old.remove());
  const known = ((props.value && props.value.area) || []).map(([row, column]) => [column, row]);
  const shape = corners.length ? preview().map(([x, y]) => [x * size()[1], y * size()[0]]) : known;
  if (!shape.length) return;
  const line = 'M' + shape.map(([x, y]) => `${x.toFixed(2)} ${y.toFixed(2)}`).join('L') + (corners.length && mode === 'outline' ? '' : 'Z');
  path(line, 'drawn halo');
  path(line, 'drawn ring');
}

function preview() {
  if (mode !== 'box' || corners.length < 2) return corners;
  const [[x0, y0], [x1, y1]] = [corners[0], corners[corners.length - 1]];
  return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]];
}

function setMode(next) {
  mode = next;
  corners = [];
  viewer.dataset.mode = mode;
  viewer.querySelectorAll('[data-mode]').forEach((one) => one.setAttribute('aria-pressed', one.dataset.mode === mode));
  drawCorners();
}

function finishDrawing() {
  const places = preview();
  setMode('mark');
  if (places.length > 2) trigger('click', { mode: 'draw', places });
}

function drawBar(scale) {
  const metres = props.value && props.value.gsd_m;
  bar.style.display = metres ? '' : 'none';
  if (!metres) return;
  const wanted = 110 * metres / scale, power = 10 ** Math.floor(Math.log10(wanted));
  const length = power * [5, 2, 1].find((step) => step * power <= wanted);
  bar.querySelector('i').style.width = length / metres * scale + 'px';
  bar.querySelector('span').textContent = length >= 1000 ? `${length / 1000} km` : `${+length.toPrecision(2)} m`;
}

function draw() {
  const value = props.value || {};
  if (props.base && base.src !== props.base) base.src = props.base;
  base.alt = value.description || '';
  overlay.src = value.overlay || BLANK;
  const [rows, columns] = size();
  marks.setAttribute('viewBox', `0 0 ${columns} ${rows}`);
  marks.replaceChildren();
  for (const outline of value.outlines || []) {
    path(outline.path, 'under');
    path(outline.path, 'light');
    path(outline.path, 'top', outline.colour);
  }
  if (shown !== value.image) { shown = value.image; setMode('mark'); zoom = 1; left = top_ = 0; window.scrollTo(0, 0); }
  viewer.dataset.layers = (value.outlines || []).length;
  viewer.querySelectorAll('[data-mode=add], [data-mode=remove]').forEach((one) => { one.disabled = !value.layer; });
  if (!value.layer && (mode === 'add' || mode === 'remove')) setMode('mark');
  place();
}

function placeOf(event) {
  const box = stage.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
}
const within = (place) => place.map((part) => Math.min(1, Math.max(0, part)));
const closeTo = (event, [x, y]) => {
  const box = stage.getBoundingClientRect();
  return Math.hypot(event.clientX - box.left - x * box.width, event.clientY - box.top - y * box.height) < 10;
};

let drag = null;
viewer.addEventListener('pointerdown', (event) => {
  if (event.target.closest('.zoom, .modes') || event.button) return;
  drag = { x: event.clientX, y: event.clientY, left, top_, moved: false, first: within(placeOf(event)) };
  viewer.setPointerCapture(event.pointerId);
});
viewer.addEventListener('pointermove', (event) => {
  if (!drag) {
    if (mode === 'box' && corners.length) { corners = [corners[0], within(placeOf(event))]; drawCorners(); }
    return;
  }
  const dx = event.clientX - drag.x, dy = event.clientY - drag.y;
  drag.moved = drag.moved || Math.hypot(dx, dy) > 5;
  if (!drag.moved) return;
  if (drawing()) {
    const place = within(placeOf(event));
    if (mode === 'box') corners = [drag.first, place];
    else if (!corners.length) corners = [drag.first, place];
    else if (!closeTo(event, corners[corners.length - 1])) corners.push(place);
    drawCorners();
    return;
  }
  if (zoom === 1) return;
  left = drag.left + dx;
  top_ = drag.top_ + dy;
  place();
});
viewer.addEventListener('pointercancel', () => { drag = null; });
viewer.addEventListener('pointerup', (event) => {
  const was = drag, at = placeOf(event);
  drag = null;
  if (!was) return;
  if (drawing()) {
    if (was.moved || (mode === 'box' && corners.length)) {
      if (mode === 'box') corners = [was.moved ? was.first : corners[0], within(at)];
      finishDrawing();
    } else if (corners.length > 2 && closeTo(event, corners[0])) finishDrawing();
    else { corners.push(within(at)); drawCorners(); }
    return;
  }
  if (was.moved || at.some((part) => part < 0 || part > 1)) return;
  trigger('click', { mode, places: [at], more: event.shiftKey });
});
viewer.addEventListener('wheel', (event) => {
  if (!event.ctrlKey && zoom === 1 && event.deltaY > 0) return;
  event.preventDefault();
  const box = viewer.getBoundingClientRect();
  zoomTo(zoom * Math.exp(-event.deltaY / 400), event.clientX - box.left, event.clientY - box.top);
}, { passive: false });
viewer.addEventListener('click', (event) => {
  const button = event.target.closest('[data-zoom], button[data-mode]');
  if (!button) return;
  if (button.dataset.mode) return setMode(button.dataset.mode);
  zoomTo({ in: zoom * 1.6, out: zoom / 1.6, fit: 1 }[button.dataset.zoom]);
});
viewer.addEventListener('keydown', (event) => {
  const step = { '+': 1.6, '=': 1.6, '-': 1 / 1.6 }[event.key];
  const move = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key];
  if (event.key === 'Escape') setMode('mark');
  if (step) zoomTo(zoom * step);
  if (move && zoom > 1) { left += move[0]; top_ += move[1]; place(); event.preventDefault(); }
});
base.addEventListener('load', place);
new ResizeObserver(place).observe(viewer);
watch(['value', 'base'], draw);
draw();
