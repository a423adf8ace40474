// The chosen star follows the pointer; so does whatever listens to 'input'.
let dragged = false;

function change(points, chosen) {
  props.value = {points, chosen};
  trigger('input');
}

function follow(event) {
  const inverse = element.querySelector('svg').getScreenCTM().inverse();
  const at = new DOMPoint(event.clientX, event.clientY)
    .matrixTransform(inverse);
  const coordinate = x => Math.round(100 * Math.min(1, Math.max(-1, x))) / 100;
  const {points, chosen} = props.value;
  change(points.map((point, i) => i !== chosen ? point : {
    ...point, valence: coordinate(at.x), arousal: coordinate(-at.y)}), chosen);
}

element.addEventListener('pointerdown', event => {
  if (event.button || !event.target.closest('svg')) return;
  event.preventDefault();  // Of selecting text.
  const star = event.target.closest('.star');
  if (star) change(props.value.points, Number(star.dataset.index));
  dragged = true;
  element.setPointerCapture(event.pointerId);
  if (!star) follow(event);
});
element.addEventListener('pointermove', event => {
  if (dragged) follow(event);
});
for (const end of ['pointerup', 'pointercancel']) {
  element.addEventListener(end, () => { dragged = false; });
}

element.addEventListener('click', event => {
  const button = event.target.closest('button');
  if (!button) return;
  const index = Number(button.dataset.index);
  let {points, chosen} = props.value;
  if (button.className === 'choose') {
    chosen = index;
  } else {
    if (points.length > 1) {
      points = points.filter((_, i) => i !== index);
    } else {
      points = [{valence: points[0].valence, arousal: points[0].arousal}];
    }
    chosen = Math.max(0, chosen - (index <= chosen));
  }
  change(points, Math.min(chosen, points.length - 1));
});
