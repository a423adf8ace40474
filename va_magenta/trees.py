"""Boosted regression trees as plain arrays that numpy walks.

LightGBM (Ke et al. 2017) fits them. Importing it, which brings scikit-learn and
pandas, takes longer than asking the trees about a thousand pieces.
"""

from collections.abc import Sequence

import numpy as np


class Trees:
  """A sum of regression trees on float32 features; agrees with LightGBM.

  All trees' nodes lie in one row of arrays. A leaf is its own two children.

  Attributes:
    arrays: `root` [trees], int32; `child` [nodes, 2], int32: where to go if
      the feature is at most the threshold, and where if it is above;
      `feature` [nodes], int16, plus the number of features where NaN counts as
      high; `threshold` and `value` [nodes], float32; `depth`, a number.
  """

  def __init__(self, arrays: dict[str, np.ndarray]):
    self.arrays = arrays

  def predict(self, features: np.ndarray) -> np.ndarray:
    """Sum of the trees' values, float64 [n], for float32 [n, features]."""
    trees = self.arrays
    # NaN is low in the first copy of the features and high in the second.
    values = np.concatenate([
        np.where(np.isnan(features), infinity, features)
        for infinity in (np.float32(-np.inf), np.float32(np.inf))
    ], axis=1)
    row = np.arange(len(features))[:, None]
    node = np.broadcast_to(trees['root'], (len(row), len(trees['root'])))
    for _ in range(int(trees['depth'])):
      is_above = values[row, trees['feature'][node]] > trees['threshold'][node]
      node = trees['child'][node, is_above.view(np.int8)]
    return trees['value'][node].sum(axis=1, dtype=np.float64)


def from_lightgbm(boosters: Sequence) -> Trees:
  """The mean of LightGBM models as plain arrays."""
  root, child, feature, threshold, value = [], [], [], [], []
  deepest = 0

  def add(node: dict, num_features: int, depth: int) -> int:
    nonlocal deepest
    deepest = max(deepest, depth)
    index = len(child)
    child.append([index, index])
    feature.append(0)
    threshold.append(np.float32(np.inf))
    value.append(node.get('leaf_value', 0) / len(boosters))
    if 'split_feature' in node:
      # LightGBM reads NaN as 0 where it met none in training.
      nan_is_low = (
          node['default_left'] if node['missing_type'] == 'NaN' else
          node['threshold'] >= 0)
      feature[index] = node['split_feature'] + (
          0 if nan_is_low else num_features)
      # The greatest float32 that is not above splits float32s as it does.
      with np.errstate(over='ignore'):
        nearest = np.float32(node['threshold'])
      threshold[index] = nearest if float(nearest) <= node['threshold'] else (
          np.nextafter(nearest, np.float32(-np.inf)))
      child[index] = [
          add(node['left_child'], num_features, depth + 1),
          add(node['right_child'], num_features, depth + 1)]
    return index

  for booster in boosters:
    model = booster.dump_model()
    for tree in model['tree_info']:
      root.append(
          add(tree['tree_structure'], model['max_feature_idx'] + 1, 0))
  return Trees({
      'root': np.array(root, np.int32), 'child': np.array(child, np.int32),
      'feature': np.array(feature, np.int16),
      'threshold': np.array(threshold, np.float32),
      'value': np.array(value, np.float32), 'depth': np.array(deepest)})
