// The star follows the pointer; so does whatever listens to 'input'.
let dragged = false;

function follow(event) {
  const inverse = element.querySelector('svg').getScreenCTM().inverse();
  const point = new DOMPoint(event.clientX, event.clientY)
    .matrixTransform(inverse);
  const coordinate = x => Math.round(100 * Math.min(1, Math.max(-1, x))) / 100;
  props.value = {valence: coordinate(point.x), arousal: coordinate(-point.y)};
  trigger('input');
}

element.addEventListener('pointerdown', event => {
  if (event.button || !event.target.closest('svg')) return;
  event.preventDefault();  // Of selecting text.
  dragged = true;
  element.setPointerCapture(event.pointerId);
  follow(event);
});
element.addEventListener('pointermove', event => {
  if (dragged) follow(event);
});
for (const end of ['pointerup', 'pointercancel']) {
  element.addEventListener(end, () => { dragged = false; });
}
