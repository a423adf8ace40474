// The cursor is where the player is; a click on the roll takes both there.
const player = () => document.querySelector('#sound audio');

function show() {
  const svg = element.querySelector('svg');
  const sound = player();
  if (!svg || !sound) return;
  const x = svg.viewBox.baseVal.width * Math.min(
    1, sound.currentTime / svg.dataset.seconds);
  const cursor = svg.querySelector('.cursor');
  cursor.setAttribute('x1', x);
  cursor.setAttribute('x2', x);
  if (!sound.paused) requestAnimationFrame(show);
}

for (const moved of ['play', 'pause', 'seeked', 'loadedmetadata']) {
  // These events do not bubble.
  document.addEventListener(moved, event => {
    if (event.target === player()) show();
  }, true);
}
element.addEventListener('click', event => {
  const svg = event.target.closest('svg');
  const sound = player();
  if (!svg || !sound) return;
  const box = svg.getBoundingClientRect();
  sound.currentTime =
    svg.dataset.seconds * (event.clientX - box.left) / box.width;
  show();
});
