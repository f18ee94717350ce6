"""ONNX graphs against the Flax modules they are of."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import pytest

from edtn_jax.export import ExportError, onnx_graph
from edtn_jax.export import onnx_layers as layers
from edtn_jax.export.onnx_generator import generator_onnx
from edtn_jax.export.onnx_translator import translator_onnx
from edtn_jax.translation.network import ExpressionTranslator
from generator.ops import conv, norm, warp
from generator.pirenderer.config import LITE, TINY
from generator.pirenderer.face_generator import FaceGenerator

_SIZE = 16
_CONFIGS = {
  'blend': dataclasses.replace(TINY, blend=True, pose_window=13),
  'palette': dataclasses.replace(TINY, blend=True, palette=3),
  'compat': dataclasses.replace(TINY, compat=True),
  'spectral_norm': dataclasses.replace(
    TINY,
    spectral_norm=True,
    warping_up=3,
    editing_levels=1,
    editing_blocks=2,
    mapping_layers=2,
    image_channels=4,
  ),
}


def _session(content):
  options = onnxruntime.SessionOptions()
  options.intra_op_num_threads = 1
  return onnxruntime.InferenceSession(
    content, options, providers=['CPUExecutionProvider']
  )


def _random(shapes, seed=0):
  """Numbers with which every layer matters."""
  rng = np.random.default_rng(seed)

  def draw(path, leaf):
    x = rng.standard_normal(leaf.shape)
    if len(leaf.shape) > 1:
      x /= np.sqrt(np.prod(leaf.shape[:-1]))
    else:
      x = 0.1 * x + (path[-1].key in ('scale', 'u'))
    return x.astype(np.float32)

  return jax.tree_util.tree_map_with_path(draw, shapes)


def _inputs(config, size, batch):
  rng = np.random.default_rng(1)
  coarse = rng.random((batch, 5, 5, config.image_channels)).astype(np.float32)
  image = jax.image.resize(
    coarse, (batch, size, size, config.image_channels), 'linear'
  )
  window = (config.pose_window,) if config.pose_window > 1 else ()
  pose = rng.random((batch, *window, config.pose_size)).astype(np.float32)
  return {'source_image': np.asarray(image), 'pose': pose}


def _generator(config, size=_SIZE):
  model = FaceGenerator(config)
  example = _inputs(config, size, 1)
  shapes = jax.eval_shape(model.init, jax.random.key(0), *example.values())
  return model, _random(shapes)


@pytest.mark.parametrize('name', _CONFIGS)
def test_generator_gives_flax_numbers(name):
  config = _CONFIGS[name]
  model, variables = _generator(config)
  session = _session(generator_onnx(config, variables, _SIZE))
  inputs = _inputs(config, _SIZE, 3)
  wanted = jax.jit(model.apply)(variables, *inputs.values())
  names = [output.name for output in session.get_outputs()]
  assert names[0] == 'image'
  assert set(names) == set(wanted)
  for output, found in zip(names, session.run(None, inputs), strict=True):
    np.testing.assert_allclose(found, wanted[output], atol=2e-5)
  one = {key: value[:1] for key, value in inputs.items()}
  (alone,) = session.run(['image'], one)
  np.testing.assert_allclose(alone, wanted['image'][:1], atol=1e-5)


def test_half_precision_stays_near_and_is_smaller():
  config = dataclasses.replace(LITE, warping_down=3, warping_up=1)
  _, variables = _generator(config)
  files = {
    precision: generator_onnx(config, variables, _SIZE, precision=precision)
    for precision in ('float32', 'float16')
  }
  inputs = _inputs(config, _SIZE, 2)
  full, half = (_session(x).run(None, inputs)[0] for x in files.values())
  assert half.dtype == np.float32
  assert 1e-6 < np.abs(full - half).max() < 1e-2
  assert len(files['float16']) < 0.8 * len(files['float32'])


def test_graph_is_what_users_were_promised():
  config = _CONFIGS['blend']
  _, variables = _generator(config)
  content = generator_onnx(config, variables, _SIZE, notes={'license': 'ours'})
  model = onnx.load_from_string(content)
  assert [(o.domain, o.version) for o in model.opset_import] == [('', 17)]
  assert model.ir_version <= 10
  assert [n.op_type for n in model.graph.node].count('GridSample') == 1
  shape = model.graph.input[0].type.tensor_type.shape.dim
  assert [d.dim_param or d.dim_value for d in shape] == ['batch', 16, 16, 3]
  assert [i.name for i in model.graph.input] == ['source_image', 'pose']
  assert {p.key: p.value for p in model.metadata_props} == {'license': 'ours'}


@pytest.mark.parametrize('opset', onnx_graph.OPSETS)
def test_every_opset_gives_the_same(opset):
  config = _CONFIGS['blend']
  _, variables = _generator(config)
  inputs = _inputs(config, _SIZE, 1)
  wanted = _session(generator_onnx(config, variables, _SIZE)).run(None, inputs)
  session = _session(generator_onnx(config, variables, _SIZE, opset=opset))
  np.testing.assert_allclose(session.run(None, inputs)[0], wanted[0], atol=1e-6)


@pytest.mark.parametrize('precision', onnx_graph.PRECISIONS)
def test_translator_gives_flax_numbers(precision):
  model = ExpressionTranslator(hidden_sizes=(16, 16), negative_slope=0.1)
  rng = np.random.default_rng(2)
  inputs = {
    'expression': rng.standard_normal((5, 50)).astype(np.float32),
    'jaw_pose': rng.standard_normal((5, 3)).astype(np.float32),
  }
  shapes = jax.eval_shape(model.init, jax.random.key(0), *inputs.values())
  variables = _random(shapes)
  content = translator_onnx(variables['params'], 0.1, precision=precision)
  (found,) = _session(content).run(None, inputs)
  tolerance = {'float32': 1e-6, 'float16': 5e-3, 'int8': 2e-2}[precision]
  np.testing.assert_allclose(
    found, model.apply(variables, *inputs.values()), atol=tolerance
  )


def _layer_output(build, shape):
  graph = onnx_graph.Graph()
  y = build(graph, graph.input('x', (2, 4, 4)))
  x = np.random.default_rng(3).standard_normal((2, 4, 4, 2))
  x = x.astype(np.float32)
  session = _session(graph.model('layer', {'y': (y, shape)}))
  (found,) = session.run(None, {'x': x.transpose(0, 3, 1, 2)})
  return x, found.transpose(0, 2, 3, 1)


@pytest.mark.parametrize(
  ('module', 'build', 'shape'),
  [
    (
      conv.Conv2d(3, 4, 2, 1),
      lambda g, p, x: layers.conv2d(g, p, x, 2, 1),
      (3, 2, 2),
    ),
    (
      conv.ConvTranspose2d(3, 3, 2, 1, 1),
      lambda g, p, x: layers.conv_transpose2d(g, p, x, 2, 1, 1),
      (3, 8, 8),
    ),
    (conv.UpConv2d(3), layers.up_conv2d, (3, 8, 8)),
    (
      norm.LayerNorm2d(),
      lambda g, p, x: layers.layer_norm2d(g, p, x, 4),
      (2, 4, 4),
    ),
  ],
)
def test_layers(module, build, shape):
  example = jnp.zeros((1, 4, 4, 2))
  variables = _random(jax.eval_shape(module.init, jax.random.key(0), example))
  x, found = _layer_output(lambda g, x: build(g, variables['params'], x), shape)
  np.testing.assert_allclose(found, module.apply(variables, x), atol=2e-6)


@pytest.mark.parametrize('compat', [False, True])
@pytest.mark.parametrize('side', [1, 2, 4])
def test_warp(compat, side):
  flow = np.random.default_rng(4).normal(0, 0.8, (2, side, side, 2))
  flow = flow.astype(np.float32)

  def build(graph, x):
    values = graph.constant(flow.transpose(0, 3, 1, 2))
    return layers.warp_by_flow(graph, x, values, 4, side, compat)

  x, found = _layer_output(build, (2, 4, 4))
  np.testing.assert_allclose(
    found, warp.warp_by_flow(x, flow, compat=compat), atol=5e-6
  )


def test_what_cannot_be_written_is_told():
  config = _CONFIGS['spectral_norm']
  _, variables = _generator(config)
  del variables['spectral']
  with pytest.raises(ExportError, match='spectral_norm'):
    generator_onnx(config, variables, _SIZE)
  with pytest.raises(ExportError, match='opset 99 is not known'):
    generator_onnx(TINY, variables, _SIZE, opset=99)
  with pytest.raises(ExportError, match='no int8'):
    generator_onnx(TINY, variables, _SIZE, precision='int8')
  with pytest.raises(ExportError, match='multiples of 8'):
    generator_onnx(TINY, variables, 12)
  with pytest.raises(ExportError, match='float64'):
    onnx_graph.Graph(precision='float64')
  with pytest.raises(ExportError, match=r"pip install 'edtn-jax\[onnx\]'"):
    onnx_graph.require('onnx_that_nobody_has')
