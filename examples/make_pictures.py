"""Draws the example pictures, one in each mood, beside this file.

  python examples/make_pictures.py

Everything is computed here (noise, gradients, polygons), so the pictures are
ours to ship, and drawing them again gives the same pixels.
"""

import pathlib

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

# Drawn at twice the size that is saved, so that edges are smooth.
WIDTH, HEIGHT = 1280, 854
Y, X = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
U, V = X / WIDTH, Y / HEIGHT  # 0..1, from the left and from the top


def color(code: str) -> np.ndarray:
  """'#rrggbb' as float RGB in 0..1."""
  return np.array([int(code[i:i + 2], 16) for i in (1, 3, 5)], np.float32) / 255


def gradient(position: np.ndarray, *stops: tuple[float, str]) -> np.ndarray:
  """Colors [height, width, 3] interpolated along positions."""
  at = [stop for stop, _ in stops]
  colors = np.array([color(code) for _, code in stops])
  return np.stack(
      [np.interp(position, at, colors[:, i]) for i in range(3)], axis=-1)


def noise(rng, rows: int, columns: int, octaves: int = 5) -> np.ndarray:
  """Fractal noise in 0..1; its largest features fill a grid of cells."""
  total = np.zeros((HEIGHT, WIDTH), np.float32)
  for octave in range(octaves):
    cells = rng.random((rows << octave, columns << octave), np.float32)
    total += np.asarray(Image.fromarray(cells).resize(
        (WIDTH, HEIGHT), Image.Resampling.BICUBIC)) / 2**octave
  total -= total.min()
  return total / total.max()


def smooth(low: float, high: float, x: np.ndarray) -> np.ndarray:
  """A soft step from 0 at `low` to 1 at `high`."""
  t = np.clip((x - low) / (high - low), 0, 1)
  return t * t * (3 - 2 * t)


def mix(below: np.ndarray, above, alpha: np.ndarray) -> np.ndarray:
  """Lays a color or picture on another; alpha is [height, width] in 0..1."""
  return below + (np.asarray(above) - below) * alpha[..., None]


def blur(layer: np.ndarray, radius: float) -> np.ndarray:
  """Gaussian blur of [height, width] or [height, width, 3] in 0..1."""
  pixels = Image.fromarray(np.uint8(255 * np.clip(layer, 0, 1)))
  return np.asarray(
      pixels.filter(ImageFilter.GaussianBlur(radius)), np.float32) / 255


def mask(draw_on) -> np.ndarray:
  """What `draw_on(ImageDraw)` paints with 255, as [height, width] in 0..1."""
  canvas = Image.new('L', (WIDTH, HEIGHT))
  draw_on(ImageDraw.Draw(canvas))
  return np.asarray(canvas, np.float32) / 255


def polygon(*corners: tuple[float, float]) -> np.ndarray:
  """A filled polygon, [height, width] in 0..1."""
  return mask(lambda draw: draw.polygon(corners, fill=255))


def ridge(rng, base: float, height: float, cells: int, octaves: int = 6):
  """Where a mountain range stands, [height, width] in 0..1."""
  profile = noise(rng, 1, cells, octaves)[HEIGHT // 2]
  return smooth(0, 2.5 / HEIGHT, V - (base - height * profile)[None])


def disc(x: float, y: float, radius: float) -> np.ndarray:
  """Distance from a point in units of a radius (a share of the height)."""
  return np.hypot(X - x * WIDTH, Y - y * HEIGHT) / (radius * HEIGHT)


def meadow(rng) -> np.ndarray:
  """A sunny meadow full of flowers."""
  picture = gradient(V, (0, '#2f86e0'), (0.35, '#8cc8f5'), (0.6, '#e4f5ff'))
  clouds = smooth(0.5, 0.85, noise(rng, 4, 4, 7)) * smooth(0.55, 0.1, V)
  picture = mix(picture, [1, 1, 1], 0.95 * clouds)
  picture += np.exp(-disc(0.78, 0.16, 0.12)**2)[..., None] * color('#fff3b0')
  picture += 0.35 * np.exp(-disc(0.78, 0.16, 0.4))[..., None]
  for base, height, near, far in (
      (0.56, 0.12, '#7fb5a0', '#a5cfc0'), (0.6, 0.1, '#5fa45c', '#8cc47c'),
      (0.64, 0.07, '#63b043', '#97d060')):
    hill = ridge(rng, base, height, 3, 2)
    picture = mix(picture, gradient(V, (0.45, far), (0.66, near)), hill)
  grass = smooth(0.6, 0.61, V - 0.02 * np.sin(5 * U))
  turf = gradient(V, (0.6, '#8fd04e'), (0.8, '#4fa32f'), (1, '#2c7a22'))
  turf *= 0.8 + 0.4 * noise(rng, 24, 64, 4)[..., None]
  picture = mix(picture, turf, grass)

  canvas = Image.fromarray(np.uint8(255 * np.clip(picture, 0, 1)))
  draw = ImageDraw.Draw(canvas)
  petals = ('#ff4f6d', '#ffd21f', '#ffffff', '#ff8ad1', '#b36bff', '#ff7a1a')
  for depth in np.sort(rng.random(900)**0.8):
    size = 2 + 24 * depth**2.2
    x, y = rng.random() * WIDTH, HEIGHT * (0.63 + 0.38 * depth)
    lean = size * rng.normal(0, 0.5)
    for _ in range(3):  # blades of grass
      away = size * rng.normal(0, 1.4)
      draw.line(
          (x + away, y + 2.4 * size, x + away * 1.3, y - size * rng.random()),
          fill=(40, int(110 + 70 * rng.random()), 30),
          width=max(1, int(size / 7)))
    draw.line((x, y + 2.6 * size, x + lean, y), fill=(46, 120, 38),
              width=max(1, int(size / 6)))
    petal = petals[rng.integers(len(petals))]
    turn = rng.random() * np.pi
    for angle in turn + np.arange(6) * np.pi / 3:
      cx = x + lean + 0.62 * size * np.cos(angle)
      cy = y + 0.5 * size * np.sin(angle)
      r = 0.46 * size
      draw.ellipse((cx - r, cy - 0.85 * r, cx + r, cy + 0.85 * r), fill=petal)
    r = 0.36 * size
    heart = '#ffb300' if petal != '#ffd21f' else '#8a4b10'
    draw.ellipse(
        (x + lean - r, y - 0.85 * r, x + lean + r, y + 0.85 * r), fill=heart)
  return np.asarray(canvas, np.float32) / 255


def lake(rng) -> np.ndarray:
  """A calm lake between mountains at dusk."""
  shore = 0.56
  sky = gradient(
      V, (0, '#1d2f6b'), (0.2, '#4a5ba3'), (0.36, '#b583b5'),
      (0.46, '#f5a98f'), (shore, '#ffdba0'))
  streaks = smooth(0.5, 0.9, noise(rng, 12, 2, 5)) * smooth(0.5, 0.2, V)
  sky = mix(sky, color('#ffb9a6'), 0.55 * streaks)
  sky += 0.5 * np.exp(-disc(0.36, shore - 0.02, 0.2))[..., None] * color(
      '#ffd590')
  for base, height, top, foot in (
      (0.56, 0.3, '#7a76ad', '#d5a3b3'), (0.56, 0.2, '#4f5590', '#9c83a5'),
      (0.565, 0.1, '#2b3564', '#4a4a78')):
    range_ = ridge(rng, base, height, 4)
    sky = mix(sky, gradient(V, (0.25, top), (shore, foot)), range_)
  row = int(shore * HEIGHT)
  picture = sky.copy()
  below = np.arange(row, HEIGHT)
  # Every row of water mirrors one of the sky, and ripples push it sideways.
  mirrored = np.clip(row - 1 - ((below - row) * 1.15).astype(int), 0, row - 1)
  swell = noise(rng, 90, 5, 3)[below] - 0.5
  push = (swell * 30 * (below - row + 8)[:, None] / HEIGHT).astype(int)
  columns = np.clip(X[below].astype(int) + push, 0, WIDTH - 1)
  water = sky[mirrored[:, None], columns]
  picture[below] = 0.86 * water + 0.07 * color('#2b3f80')
  picture = np.where((V > shore)[..., None], 0.6 * picture + 0.4 * blur(
      picture, 5), picture)
  picture = mix(
      picture, color('#fff0d0'),
      0.35 * np.exp(-((V - shore) * HEIGHT / 2)**2))

  def pier(draw):
    draw.polygon([(1280, 742), (1280, 800), (850, 704), (866, 692)], fill=255)
    for x, y in ((870, 700), (960, 722), (1060, 746), (1180, 774)):
      draw.rectangle((x - 5, y - 34, x + 5, y + 50), fill=255)
  return mix(picture, color('#1a1c38'), 0.95 * mask(pier))


def bolt(rng, draw, start, end, width):
  """A stroke of lightning with branches, by midpoint displacement."""
  points = np.array([start, end], float)
  sway = np.hypot(*(points[1] - points[0])) * 0.16
  for _ in range(7):
    middle = (points[1:] + points[:-1]) / 2
    middle += rng.normal(0, sway, middle.shape) * (1, 0.4)
    points = np.insert(points, range(1, len(points)), middle, axis=0)
    sway *= 0.55
  draw.line([tuple(p) for p in points], fill=255, width=width)
  if width > 2:
    for i in rng.choice(np.arange(20, 100), 5, replace=False):
      reach = rng.normal(0, 130), 60 + 160 * rng.random()
      bolt(rng, draw, points[i], points[i] + reach, width - 3)


def storm(rng) -> np.ndarray:
  """A stormy sea at night under lightning."""
  horizon = 0.58
  picture = gradient(
      V, (0, '#05070d'), (0.4, '#1d2430'), (horizon, '#3a4250'))
  clouds = noise(rng, 5, 4, 8)
  picture *= (0.25 + 1.5 * clouds**1.6)[..., None]
  strokes = mask(lambda draw: [
      bolt(rng, draw, (470, -10), (560, 500), 7),
      bolt(rng, draw, (1010, -10), (930, 490), 5)])
  glow = 2.2 * blur(strokes, 12) + 3 * blur(strokes, 50)
  lit = np.exp(-disc(0.4, 0.15, 0.5)) + 0.7 * np.exp(-disc(0.78, 0.1, 0.4))
  picture += (lit * clouds**2)[..., None] * color('#8f9cc8') * 0.9
  picture += glow[..., None] * color('#9fb2ff') + 1.5 * strokes[..., None]
  for layer in np.linspace(0, 1, 7)**1.4:
    base = horizon + 0.015 + 0.4 * layer
    swell = noise(rng, 1, int(12 - 8 * layer), 3)[HEIGHT // 2]
    # Steeper than a sine towards its crest, as heaped water is.
    phase = 2 * np.pi * (11 - 8 * layer) * (U[0] + 0.09 * swell) + 9 * layer
    crest = (0.5 + 0.5 * np.sin(phase + 0.5 * np.sin(phase)))**1.2 * swell
    top = base - (0.04 + 0.19 * layer) * (crest - 0.2)
    top = top - 0.008 * noise(rng, 1, 40, 4)[HEIGHT // 2]
    depth = V - top[None]
    body = gradient(
        depth, (0, '#6d8a96'), (0.02 + 0.06 * layer, '#24394a'),
        (0.1 + 0.2 * layer, '#0a131c'))
    # Streaks that follow the slope of the water.
    body *= (0.55 + 0.9 * noise(rng, 40, 8, 5))[..., None]
    picture = mix(picture, body, smooth(0, 2 / HEIGHT, depth))
    foam = smooth(0.35, 0.75, noise(rng, 40, 40, 4)) * smooth(
        0.03 + 0.05 * layer, 0, depth) * (depth > 0)
    picture = mix(
        picture, color('#dbe7ee'), foam * smooth(0.25, 0.6, crest)[None])
  rain = blur(smooth(0.995, 1, rng.random((HEIGHT, WIDTH))), 0.6)
  rain = sum(np.roll(rain, (9 * i, -3 * i), (0, 1)) for i in range(6))
  return picture + 0.12 * rain[..., None]


def fireworks(rng) -> np.ndarray:
  """Fireworks over a town by the water."""
  shore = 0.78
  picture = gradient(V, (0, '#050518'), (0.5, '#141238'), (shore, '#3a2350'))
  bursts = (
      (0.5, 0.27, 0.27, '#ffd34d', '#ff7a2e'), (0.2, 0.35, 0.2, '#ff4f7b',
                                                '#ffb0c4'),
      (0.8, 0.33, 0.22, '#5cc8ff', '#c5f0ff'), (0.36, 0.14, 0.13, '#8dff7a',
                                               '#f5ffd0'),
      (0.67, 0.13, 0.12, '#d58cff', '#ffe0ff'), (0.07, 0.15, 0.1, '#ffe89c',
                                                '#ffffff'),
      (0.93, 0.12, 0.1, '#ff8f5c', '#ffe0b0'))
  for x, y, radius, inner, outer in bursts:
    def trails(draw, x=x, y=y, radius=radius, bright=False):
      for angle in rng.random(110) * 2 * np.pi:
        reach = radius * HEIGHT * (0.35 + 0.65 * np.sqrt(rng.random()))
        t = np.linspace(0.15 if not bright else 0.9, 1, 20)
        px = x * WIDTH + reach * t * np.cos(angle)
        py = y * HEIGHT + reach * t * np.sin(angle) + 0.22 * reach * t**2
        draw.line(list(zip(px, py, strict=True)), fill=255,
                  width=4 if bright else 2)
    lines, sparks = mask(trails), mask(lambda d: trails(d, bright=True))
    fade = np.clip(disc(x, y, radius), 0, 1)
    tint = gradient(fade, (0, '#ffffff'), (0.3, inner), (1, outer))
    light = 0.85 * lines + 1.6 * blur(lines, 6) + sparks + 1.5 * blur(sparks, 5)
    picture += light[..., None] * tint
    picture += 0.16 * np.exp(-disc(x, y, radius)**2)[..., None] * color(inner)

  def town(draw):
    x = -10
    while x < WIDTH:
      wide, high = rng.integers(30, 100), rng.integers(30, 150)
      draw.rectangle((x, shore * HEIGHT - high, x + wide, HEIGHT), fill=255)
      x += wide
  houses = mask(town)
  picture = mix(picture, color('#0a0818'), houses)
  windows = np.kron(
      rng.random((HEIGHT // 14 + 1, WIDTH // 10 + 1)) > 0.75,
      np.pad(np.ones((6, 5)), ((4, 4), (2, 3))))[:HEIGHT, :WIDTH]
  picture = mix(picture, color('#ffcf70'), 0.8 * windows * houses)
  row = int(shore * HEIGHT)
  below = np.arange(row, HEIGHT)
  mirrored = np.clip(row - ((below - row) * 3.4).astype(int), 0, row)
  ripple = ((noise(rng, 120, 8, 3)[below] - 0.5) * 70).astype(int)
  columns = np.clip(X[below].astype(int) + ripple, 0, WIDTH - 1)
  picture[below] = 0.55 * np.clip(picture, 0, 1)[mirrored[:, None], columns]
  return picture


def rain(rng) -> np.ndarray:
  """A gray street in the rain, seen by nobody."""
  picture = gradient(V, (0, '#6f767c'), (0.5, '#a5abae'))
  picture *= (0.85 + 0.25 * noise(rng, 4, 4, 6))[..., None]
  vanish = np.array([640, 430])

  def toward(x, y, t):
    """The point that a share `t` of the way leads to from (x, y)."""
    return tuple(np.array([x, y]) + t * (vanish - np.array([x, y])))
  ground = np.float32(Y >= 430)
  picture = mix(
      picture, gradient(V, (0.5, '#8d9396'), (1, '#34383c')), ground)
  steps = np.concatenate([[0], np.sort(1 - 0.8**np.arange(1, 13))])
  # Far houses first, so that near ones stand before them.
  for near, far in reversed(list(zip(steps[:-1], steps[1:], strict=True))):
    for side in (-1, 1):
      edge, roof = 640 + side * 760, -260 + rng.integers(-140, 140)
      wall = polygon(
          toward(edge, 900, near), toward(edge, 900, far),
          toward(edge, roof, far), toward(edge, roof, near))
      gray = 0.2 + 0.42 * far + 0.05 * rng.random()
      picture = mix(picture, gray * np.array([0.95, 1, 1.04]), wall)
      for floor in np.linspace(roof + 120, 560, 5):
        for t in np.linspace(near, far, 5)[:-1]:
          u = t + 0.5 * (far - near) / 5
          pane = polygon(
              toward(edge, floor, t), toward(edge, floor, u),
              toward(edge, floor + 75, u), toward(edge, floor + 75, t))
          picture = mix(picture, (gray * 0.7 + 0.02) * np.ones(3), 0.8 * pane)
  for t in (0.8, 0.66, 0.42, 0.05):  # street lamps, unlit
    def lamps(draw, t=t):
      size = max(2, int(12 * (1 - t)))
      for side in (-1, 1):
        x, y = toward(640 + side * 400, 20, t)
        draw.line(
            (toward(640 + side * 520, 860, t), toward(640 + side * 520, 40, t),
             (x, y)), fill=255, width=size)
        draw.ellipse((x - 2 * size, y - size, x + 2 * size, y + size), fill=255)
    picture = mix(picture, (0.14 + 0.4 * t) * np.ones(3), mask(lamps))
  # Wet asphalt mirrors the street, smeared downwards.
  below = np.arange(436, HEIGHT)
  mirrored = np.clip(432 - (below - 436), 0, 431)
  wobble = ((noise(rng, 60, 20, 3)[below] - 0.5) * 50).astype(int)
  columns = np.clip(X[below].astype(int) + wobble, 0, WIDTH - 1)
  gloss = (0.55 * smooth(0.3, 0.7, noise(rng, 10, 6, 5)) + 0.1)[below]
  road = polygon((640, 430), (1500, 900), (-220, 900))[below]
  picture[below] = mix(
      picture[below], blur(picture, 3)[mirrored[:, None], columns],
      gloss * road)
  picture = mix(picture, color('#a5abae'), 0.75 * np.exp(
      -((X - 640)**2 / 260**2 + (Y - 400)**2 / 110**2)))
  for length, threshold, strength in ((10, 0.9975, 0.16), (26, 0.9992, 0.22)):
    drops = np.float32(rng.random((HEIGHT, WIDTH)) > threshold)
    streaks = sum(np.roll(drops, (i, -i // 6), (0, 1)) for i in range(length))
    picture = mix(picture, [0.86, 0.89, 0.92], strength * np.clip(
        streaks, 0, 1))
  return picture


def explosion(rng) -> np.ndarray:
  """A ball of fire and black smoke over a plain."""
  picture = gradient(
      V, (0, '#6b6f76'), (0.7, '#b0a596'), (0.8, '#8a7a66'), (1, '#5a4d3f'))
  ground = smooth(0.72, 0.8, V)
  picture *= (1 - 0.35 * ground * noise(rng, 60, 30, 4))[..., None]
  billows = noise(rng, 5, 7, 8)
  smoke = np.clip(2.2 - 1.3 * disc(0.5, 0.35, 0.55) - 1.2 * (1 - billows), 0, 1)
  picture = mix(
      picture, (0.06 + 0.12 * noise(rng, 6, 8, 7))[..., None] * np.ones(3),
      smooth(0.1, 0.5, smoke))
  heat = np.clip(
      1.5 - disc(0.5, 0.45, 0.42) - 1.1 * (1 - noise(rng, 6, 8, 7)), 0, 1.2)
  fire = gradient(
      heat, (0, '#15100d'), (0.25, '#3a1c0f'), (0.45, '#b33208'),
      (0.7, '#ff8a12'), (0.95, '#ffe680'), (1.2, '#ffffff'))
  picture = mix(picture, fire, smooth(0.02, 0.2, heat))
  glow = 0.6 * np.exp(-disc(0.5, 0.45, 0.3)**2)
  return picture + glow[..., None] * color('#5a2205')


PICTURES = (meadow, lake, storm, fireworks, rain, explosion)


def main():
  """Draws every picture; each has a seed of its own."""
  for seed, draw in enumerate(PICTURES):
    picture = draw(np.random.default_rng(seed))
    pixels = Image.fromarray(np.uint8(255 * np.clip(picture, 0, 1) + 0.5))
    path = pathlib.Path(__file__).with_name(f'{draw.__name__}.jpg')
    pixels.reduce(2).save(path, quality=85, optimize=True)
    print(f'{path.name}: {path.stat().st_size / 1000:.0f} kB')


if __name__ == '__main__':
  main()
