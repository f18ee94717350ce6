"""BlazeFace: anchors, decoding and suppression against hand-made cases."""

import numpy as np
import pytest
from PIL import Image

from data.facemesh import detector


def test_anchors_are_cell_centers_row_by_row():
  short = detector.anchor_centers(detector.SHORT_RANGE)
  assert short.shape == (896, 2)
  # Two anchors a cell on 16 x 16 cells, then six on 8 x 8.
  np.testing.assert_allclose(short[0], [0.5 / 16, 0.5 / 16])
  np.testing.assert_allclose(short[1], short[0])
  np.testing.assert_allclose(short[2], [1.5 / 16, 0.5 / 16])
  np.testing.assert_allclose(short[32], [0.5 / 16, 1.5 / 16])
  np.testing.assert_allclose(short[512:518], [[0.5 / 8, 0.5 / 8]] * 6)
  np.testing.assert_allclose(short[-1], [7.5 / 8, 7.5 / 8])
  full = detector.anchor_centers(detector.FULL_RANGE)
  assert full.shape == (2304, 2)
  np.testing.assert_allclose(full[1], [1.5 / 48, 0.5 / 48])


def test_decode_by_hand():
  kind = detector.SHORT_RANGE
  raw = np.zeros((3, 16), np.float32)
  # Centre 12.8 right and 6.4 down of the anchor, 25.6 wide, 51.2 high.
  raw[1, :4] = [12.8, 6.4, 25.6, 51.2]
  raw[1, 4:6] = [-12.8, 0]
  raw[1, 14:] = [0, 64]
  logits = np.array([-1.0, np.log(4.0), -1e30], np.float32)
  centers = np.full((3, 2), 0.5)
  boxes, keypoints, scores = detector.decode(raw, logits, centers, kind)
  np.testing.assert_allclose(boxes, [[0.5, 0.35, 0.7, 0.75]], atol=1e-7)
  np.testing.assert_allclose(keypoints[0, 0], [0.4, 0.5], atol=1e-7)
  np.testing.assert_allclose(keypoints[0, 5], [0.5, 1.0], atol=1e-7)
  np.testing.assert_allclose(scores, [0.8], rtol=1e-6)


def test_overlap_by_hand():
  box = np.array([0.0, 0.0, 2.0, 2.0])
  others = np.array(
    [[0, 0, 2, 2], [1, 0, 3, 2], [2, 2, 3, 3], [1, 1, 1, 1]], np.float64
  )
  np.testing.assert_allclose(detector.overlap(box, others), [1, 1 / 3, 0, 0])


def test_overlapping_detections_are_averaged_by_score():
  boxes = np.array(
    [[10, 10, 12, 12], [0, 0, 2, 2], [0.5, 0, 2.5, 2]], np.float64
  )
  keypoints = np.stack([np.full((6, 2), v) for v in (7.0, 1.0, 5.0)])
  scores = np.array([0.7, 0.9, 0.3])
  found = detector.merge_overlapping(boxes, keypoints, scores)
  assert [d.score for d in found] == [0.9, 0.7]
  # Weights 0.75 and 0.25.
  np.testing.assert_allclose(found[0].box, [0.125, 0, 2.125, 2])
  np.testing.assert_allclose(found[0].keypoints, np.full((6, 2), 2.0))
  np.testing.assert_allclose(found[1].box, boxes[0])
  assert found[1].area == pytest.approx(4)


def test_boxes_without_area_do_not_hang():
  boxes = np.zeros((2, 4))
  found = detector.merge_overlapping(
    boxes, np.zeros((2, 6, 2)), np.array([0.6, 0.5])
  )
  assert len(found) == 2


def test_nothing_found_gives_an_empty_list():
  found = detector.merge_overlapping(
    np.zeros((0, 4)), np.zeros((0, 6, 2)), np.zeros(0)
  )
  assert found == []


@pytest.mark.parametrize('size', [(40, 20), (20, 40), (16, 16)])
def test_letterbox_keeps_proportions_and_tells_the_way_back(size):
  picture = Image.new('RGB', size, (255, 255, 255))
  square, longest, corner = detector.letterbox(picture, 8)
  assert square.shape == (8, 8, 3)
  # White where the picture is; its area is exact for these sizes.
  assert (square[..., 0] == 255).sum() == 64 * size[0] * size[1] / longest**2
  rows, columns = np.nonzero(square[..., 0])
  first = np.array([columns.min(), rows.min()]) / 8 * longest + corner
  last = np.array([columns.max() + 1, rows.max() + 1]) / 8 * longest + corner
  np.testing.assert_allclose(first, [0, 0], atol=1e-9)
  np.testing.assert_allclose(last, size, atol=1e-9)
