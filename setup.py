"""Packages va_magenta; the locked environment is in requirements.txt."""

import pathlib
import re

import setuptools

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(
  r"__version__ = '(.+)'", (ROOT / 'va_magenta/__init__.py').read_text()
).group(1)
# The top-level folder datasets/ is a subpackage: nobody gets a module called
# `datasets` from us. checkpoints/ has no code, only the weights that ship.
PACKAGE_DIR = {
  'va_magenta': 'va_magenta',
  'va_magenta.datasets': 'datasets',
  'va_magenta.weights': 'checkpoints',
}
PACKAGES = [
  name if not sub else f'{name}.{sub}'
  for name, folder in PACKAGE_DIR.items()
  for sub in ['', *setuptools.find_packages(ROOT / folder)]
]
COMMANDS = sorted(p.stem for p in ROOT.glob('va_magenta/va_magenta_*.py'))

setuptools.setup(
  name='va_magenta',
  version=VERSION,
  description='Music that feels like a picture, by way of valence and arousal',
  long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
  long_description_content_type='text/markdown',
  license='Apache-2.0',
  license_files=['LICENSE'],
  classifiers=[
    'Intended Audience :: Developers',
    'Intended Audience :: Science/Research',
    'Operating System :: MacOS',
    'Operating System :: POSIX :: Linux',
    'Programming Language :: Python :: 3.10',
    'Programming Language :: Python :: 3.11',
    'Programming Language :: Python :: 3.12',
    'Topic :: Multimedia :: Sound/Audio',
    'Topic :: Scientific/Engineering :: Artificial Intelligence',
  ],
  python_requires='>=3.10,<3.13',
  install_requires=[
    'absl-py',
    'keras>=3.12',
    'librosa',
    'lightgbm',
    'matplotlib',
    'mido',
    'note-seq==0.0.5',
    'numpy>=2',
    'opensmile',
    'pandas',
    'pebble',
    'pillow',
    'pooch',
    'pretty_midi',
    'protobuf<7',  # 7 breaks Magenta's training
    'pyarrow',
    'pyfluidsynth',
    'pyloudnorm',
    'requests',  # What pooch fetches with.
    'scikit-learn',
    'scipy',
    'soundfile',
    'symusic',
    'tensorflow>=2.20',
    'tensorflow-datasets',
    # On Python 3.10 a resolver would sooner go back to 0.5 than give up
    # protobuf 6.33.
    'tensorflow-metadata>=1.17',
    'tqdm',
    # For Magenta, which is not here itself: its pins cannot be solved, so that
    # it goes in with --no-deps (see requirements.txt).
    'six',
    'tensorflow-probability',
    'tf-keras',
    'tf-slim',
  ],
  extras_require={
    'app': ['gradio==6.31.0'],  # The page of va_magenta_app.
    'beam': ['apache-beam==2.77.0'],  # Prepares large datasets in a cluster.
    # The site of README, docs/ and the cards.
    'docs': ['mkdocs==1.6.1', 'mkdocs-material==9.8.2'],
    'heic': ['pillow-heif==1.8.1'],  # Pictures as telephones take them.
    'score': ['music21>=9.1'],  # MusicXML.
    'video': ['imageio-ffmpeg==0.8.1'],
    'test': [
      'dill==0.4.1',  # TFDS's own test case of a builder asks for it.
      'gradio==6.31.0',  # As in `app`.
      'hypothesis==6.168.5',
      'imageio-ffmpeg==0.8.1',  # As in `video`.
      'ipykernel==7.3.0',
      'keras-hub==0.32.0; python_version >= "3.11"',
      'mkdocs==1.6.1',  # As in `docs`, and so is the next.
      'mkdocs-material==9.8.2',
      'music21>=9.1',  # As in `score`; 10 wants Python 3.11.
      'nbclient==0.11.0',
      'pillow-heif==1.8.1',  # As in `heic`.
      'playwright==1.65.2',
      'pyright[nodejs]==1.1.414',
      'pytest==9.2.0',
      'pytest-xdist==3.8.0',
      'ruff==0.17.6',
    ],
  },
  packages=PACKAGES,
  package_dir=PACKAGE_DIR,
  package_data={'': ['**/*']},
  exclude_package_data={'': ['**/*.pyc']},
  entry_points={
    'console_scripts': [
      f'{c} = va_magenta.{c}:console_entry_point' for c in COMMANDS
    ]
  },
)
