"""The report: one file, well-formed, nothing loaded, everything escaped."""

import base64
import html.parser
import io
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from data import pose_vector
from edtn_jax import report, report_charts
from edtn_jax.pictures import style

_VOID = {'meta', 'img', 'br', 'link', 'input', 'hr'}


class _Page(html.parser.HTMLParser):
  """Checks nesting and collects what a test wants to know."""

  def __init__(self, text):
    super().__init__()
    self.open, self.links, self.ids, self.tags = [], [], [], []
    self.words, self.pictures = [], []
    self.feed(text)
    self.close()
    assert not self.open

  def handle_starttag(self, tag, attributes):
    self.tags.append(tag)
    for key, value in attributes:
      if key in ('src', 'href', 'xlink:href'):
        self.links.append(value)
      if key == 'id':
        self.ids.append(value)
      if tag == 'img' and key == 'src':
        self.pictures.append(value)
    if tag not in _VOID:
      self.open.append(tag)

  def handle_startendtag(self, tag, attributes):
    self.handle_starttag(tag, attributes)
    if tag not in _VOID:
      self.handle_endtag(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    if self.open and self.open[-1] not in ('style', 'script'):
      self.words.append(data)

  @property
  def text(self):
    return ' '.join(' '.join(self.words).split())


def _full_data(tmp_path):
  rng = np.random.default_rng(0)
  gif = tmp_path / 'in.gif'
  frames = [Image.new('RGB', (8, 8), (0, 0, 60 * i)) for i in range(3)]
  frames[0].save(gif, save_all=True, append_images=frames[1:])
  true = rng.random((40, 17))
  steps = np.arange(0, 100, 10)
  timeline = np.concatenate([rng.random((60, 17)), np.zeros((60, 3))], 1)
  return report.ReportData(
    title='Faces & <poses>',
    introduction='An introduction.',
    gif=gif,
    gif_caption='Left: "him".',
    observations=('First thing.', 'Second <b>thing</b>.'),
    curves={
      'loss/train': (steps, np.exp(-steps / 10.0)),
      'loss/validation': (steps, np.exp(-steps / 20.0)),
      'landmark_error_mm': (steps, np.linspace(4, 1, 10)),
    },
    metrics=(
      report.Metric('landmark error', 1.23456, 'mm', 'A distance.', True),
      report.Metric('frames', 18503),
    ),
    figures=(
      report.Figure('More', np.full((4, 6, 3), 7, np.uint8), 'A caption.'),
    ),
    tables=(
      report.Table(
        'By <part>', ('warped',), {'eyes': (0.25,), 'lips': (None,)}
      ),
    ),
    expressions=Image.new('RGB', (12, 9), (10, 20, 30)),
    true_coeffs=true,
    predicted_coeffs=np.clip(true + 0.1, 0, 1),
    timeline=timeline,
    provenance={
      'Run': {'commit': 'abc123', 'seeds': (1, 2)},
      'Config': {'loss': {'vertex_weight': 100.0}},
    },
    commands=(('Train on.', 'edtn train --workdir="a b" && echo <ok>'),),
  )


@pytest.fixture(scope='module')
def page(tmp_path_factory):
  folder = tmp_path_factory.mktemp('report')
  path = report.write_report(folder / 'report.html', _full_data(folder))
  text = path.read_text(encoding='utf-8')
  return text, _Page(text), folder


def test_the_page_is_well_formed_and_loads_nothing(page):
  text, parsed, _ = page
  assert text.startswith('<!doctype html>')
  assert 'script' not in parsed.tags
  assert 'link' not in parsed.tags
  assert parsed.links
  for link in parsed.links:
    assert link.startswith(('data:image/', '#')), link[:60]
  assert 'url(http' not in text
  assert '@import' not in text
  assert len(parsed.ids) == len(set(parsed.ids))


def test_every_section_is_there_in_order(page):
  _, parsed, _ = page
  wanted = [
    'see',
    'metrics',
    'training',
    'scatter',
    'timeline',
    'expressions',
    'figure-0',
    'table-0',
    'commands',
    'provenance',
  ]
  assert [name for name in parsed.ids if name in wanted] == wanted


def test_text_is_escaped_and_complete(page):
  text, parsed, _ = page
  assert '<poses>' not in text
  for words in (
    'Faces & <poses>',
    'Left: "him".',
    'Second <b>thing</b>.',
    'edtn train --workdir="a b" && echo <ok>',
    'loss.vertex_weight 100.0',
    'seeds 1, 2',
    '1.235 mm A distance.',
    'frames 18,503',
  ):
    assert words in parsed.text, words


def test_pictures_are_inside_and_unchanged(page):
  _, parsed, folder = page
  data = {}
  for link in parsed.pictures:
    kind, encoded = link.split(';base64,')
    data.setdefault(kind, []).append(base64.b64decode(encoded))
  assert data['data:image/gif'] == [(folder / 'in.gif').read_bytes()]
  sheet, more = (Image.open(io.BytesIO(d)) for d in data['data:image/png'])
  assert sheet.size == (12, 9)
  assert sheet.getpixel((3, 3)) == (10, 20, 30)
  assert more.size == (6, 4)
  assert more.getpixel((0, 0)) == (7, 7, 7)


def test_charts_follow_the_theme(page):
  text, _, _ = page
  charts = re.findall(r'<svg.*?</svg>', text, re.DOTALL)
  # Two quantities, the scatter, 11 rows of coefficients and the head.
  assert len(charts) == 2 + 1 + 11 + 1
  for chart in charts:
    assert 'var(--' in chart
    assert '#010203' not in chart
    assert 'aria-label="' in chart
  assert 'prefers-color-scheme: dark' in text


def test_an_almost_empty_report_has_only_what_it_knows(tmp_path):
  path = report.write_report(
    tmp_path / 'r.html', report.ReportData(title='Only this')
  )
  parsed = _Page(path.read_text(encoding='utf-8'))
  assert parsed.text == 'Only this Only this'
  assert not parsed.ids
  assert not parsed.links


def test_all_problems_at_once(tmp_path):
  data = report.ReportData(
    title='x',
    gif=tmp_path / 'absent.gif',
    true_coeffs=np.zeros((3, 17)),
    timeline=np.zeros((3, 17)),
    curves={'loss': (np.arange(3), np.arange(4))},
  )
  with pytest.raises(ValueError, match=r'absent\.gif') as error:
    report.write_report(tmp_path / 'r.html', data)
  for words in ('predicted_coeffs', 'timeline is (3, 17)', 'curve loss'):
    assert words in str(error.value)
  assert not list(tmp_path.iterdir())


def test_same_data_same_bytes(tmp_path):
  data = _full_data(tmp_path)
  first = report.write_report(tmp_path / 'a.html', data).read_bytes()
  second = report.write_report(tmp_path / 'b.html', data).read_bytes()
  assert first == second


def test_curve_points_stand_where_the_values_are():
  """Reads the line back from the drawing: equal steps, falling values."""
  steps, values = np.arange(4), np.array([3.0, 2.0, 1.0, 0.0])
  (chart,) = report_charts.curve_charts({'loss': (steps, values)})
  color = f'var(--{next(iter(style.GROUP_COLORS))})'
  line = re.search(
    rf'<path d="([^"]*)"[^>]*style="fill: none; stroke: {re.escape(color)}',
    chart,
  )[1]
  points = np.array(re.findall(r'[ML] ([\d.]+) ([\d.]+)', line), float)
  assert len(points) == 4
  np.testing.assert_allclose(np.diff(points[:, 0], 2), 0, atol=1e-3)
  # Down the page is down the chart: equal falls, growing y.
  falls = np.diff(points[:, 1])
  np.testing.assert_allclose(falls, falls[0], atol=1e-3)
  assert falls[0] > 10


def test_thinning_keeps_peaks():
  values = np.zeros(10_000)
  values[4321] = 1.0
  values[8000] = -1.0
  x, y = report_charts._thin(np.arange(10_000), values)
  assert len(x) <= 500
  assert (np.diff(x) > 0).all()
  assert y[x == 4321] == 1.0
  assert y[x == 8000] == -1.0


@pytest.mark.parametrize(
  ('value', 'text'),
  [
    (1.23456, '1.235'),
    (0.000123, '0.000123'),
    (18503, '18,503'),
    (61234.5, '61,234'),
    (2.0, '2'),
    (float('nan'), 'nan'),
    (float('inf'), 'inf'),
  ],
)
def test_numbers_are_short(value, text):
  assert report.format_number(value) == text


def test_reports_need_no_jax():
  code = 'import sys, edtn_jax.report; print("jax" in sys.modules)'
  done = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  assert done.stdout.strip() == 'False'


def test_timeline_has_a_chart_for_every_pose_number():
  charts = report_charts.timeline_charts(np.zeros((5, 20)), 25.0)
  assert len(charts) == 12
  assert all(name in charts[-1] for name in pose_vector.ANGLE_NAMES)
