r"""Anime generator: one picture and a pose vector in, the moved picture out.

Training of the EDTN paper (arXiv 2310.10073) of a PIRenderer (ICCV 2021).
Values are the paper's unless a comment says otherwise.

    edtn train --config=configs/anime_generator.py --workdir=runs/generator \
      --config.data.path=DATASET --config.loss.vgg_weights=vgg19-dcbb9e9d.pth
    edtn train --config=configs/anime_generator.py:lite --workdir=runs/lite

Arguments:
    256 (default) | 512     the paper's net on a prepared data set, with VGG19;
                            512 cuts a batch into parts and recomputes features
    lite                    a small net on characters drawn by code, 96x96, no
                            weights needed; 80 minutes on two CPU cores. The
                            generator that comes with the project was made so,
                            see edtn_jax/pretrained/README.md
    tiny                    seconds, for tests

DATASET is made by `edtn prepare`. Without VGG19 weights:
--config.loss.objective=structural.
"""

import ml_collections

# 3,319 training identities, each seen 75 times an epoch, in batches of 8.
STEPS_PER_EPOCH = -(-3319 * 75 // 8)

ARGUMENTS = ('256', '512', 'lite', 'tiny')


def get_config(arg: str = '') -> ml_collections.ConfigDict:
  """Returns the config; `arg` is described in the module's docstring."""
  arg = arg or '256'
  if arg not in ARGUMENTS:
    raise ValueError(
      f'unknown config argument {arg}; known: {", ".join(ARGUMENTS)}'
    )
  config = _base()
  if arg == '512':
    config.data.size = 512
    config.model.remat = True
    config.train.accumulation = 4
  elif arg == 'lite':
    _make_lite(config)
  elif arg == 'tiny':
    _make_tiny(config)
  return config


def _base() -> ml_collections.ConfigDict:
  config = ml_collections.ConfigDict()
  config.task = 'anime_generator'
  config.seed = 0
  config.resume_from = ''
  config.init_from = ''
  config.compile_cache_dir = '~/.cache/edtn_jax'

  config.model = model = ml_collections.ConfigDict()
  model.preset = 'full'  # or lite, tiny: generator/pirenderer/config.py
  # Any field of PIRendererConfig, instead of the preset's.
  model.sizes = ml_collections.ConfigDict()
  model.dtype = 'float32'
  model.remat = False
  # 'paper': N(0, 0.02) everywhere. 'fan_in': what carries the pose is scaled
  # by what goes in, degrees to units.
  model.init = 'paper'

  config.loss = loss = ml_collections.ConfigDict()
  loss.objective = 'vgg'  # or 'structural': no weights needed
  loss.vgg_weights = ''
  loss.vgg_scales = 4
  loss.vgg_compat = False
  loss.style_weight = 250.0
  # Of the objective 'structural' only.
  loss.l1_weight = 1.0
  loss.gradient_weight = 1.0
  loss.ssim_weight = 0.5
  loss.part_weight = 0.0
  loss.warped_weight = 2.5
  loss.image_weight = 4.0
  # Of networks that blend (model.sizes.blend) only.
  loss.painted_weight = 0.0
  loss.share_weight = 0.0
  # Whether stage 2 leaves motion and warp as stage 1 learnt them.
  loss.freeze_warp = False
  # Stage 1, until this step, trains the warp alone.
  loss.edit_from_step = 100 * STEPS_PER_EPOCH
  # Not in the paper: supervision by the true flow of drawn characters, in
  # stage 1 and afterwards.
  loss.flow_weight = 0.0
  loss.flow_weight_editing = 0.0
  # Every pair both ways, the driving picture as the source as well.
  loss.exchange = True

  config.data = data = ml_collections.ConfigDict()
  data.source = 'dataset'  # or 'characters': drawn by code
  data.path = ''
  data.train_split = 'train'
  data.validation_split = 'test'
  data.size = 256
  data.repeats = 75  # pairs of an identity in an epoch
  data.background = 'white'
  data.color_jitter = 0.1
  data.pipeline = 'stream'  # 'memory': drawn once, kept on the devices
  data.num_workers = 0
  data.num_threads = 4
  data.validation_pairs = 512
  # Of the source 'characters' only.
  data.num_identities = 3319
  data.validation_identities = 294
  data.first_identity = 0
  data.pairs_per_identity = 16  # of the pipeline 'memory'
  data.rotated_fraction = 0.5  # of driving frames
  data.source_rotated_fraction = 0.5
  data.styles = ('flat', 'cel', 'soft', 'line_art')

  config.optimizer = optimizer = ml_collections.ConfigDict()
  # Adam; the editing network counts its steps from its own first one.
  optimizer.name = 'staged_adam'
  optimizer.learning_rate = 1e-4
  optimizer.b1 = 0.5
  optimizer.b2 = 0.999
  optimizer.weight_decay = 0.0
  optimizer.clip_norm = 0.0
  optimizer.schedule = 'drop'
  optimizer.warmup_steps = 0
  optimizer.restart_step = 0  # of a cosine
  optimizer.drop_step = 150 * STEPS_PER_EPOCH
  optimizer.drop_factor = 0.2

  # How arrays lie on devices: see edtn_jax/sharding.py.
  config.sharding = sharding = ml_collections.ConfigDict()
  sharding.mesh = ml_collections.ConfigDict({'data': -1, 'model': 1})
  sharding.rules = (('batch', 'rows(data)'), ('.*', 'replicate'))

  config.train = train = ml_collections.ConfigDict()
  train.batch_size = 8  # pairs; exchanged ones make it 16 pictures
  train.accumulation = 1
  train.num_epochs = 0
  train.num_steps = 200 * STEPS_PER_EPOCH
  train.ema_decay = 0.5 ** (32 / 10_000)
  train.log_every = 50
  train.eval_every = STEPS_PER_EPOCH
  train.eval_batch_size = 8
  train.checkpoint_every = 5000
  train.pictures = True
  train.profile_steps = (0, 0)  # trace steps [begin, end)
  return config


def _make_lite(config: ml_collections.ConfigDict) -> None:
  """DEVIATION: sized for a CPU; nothing of the paper's recipe but the net.

  The warp is learnt first, and mostly from the true flow: a step costs a third
  of one with editing. Sources mostly face the viewer, as pictures do that
  somebody wants to see move.
  """
  config.model.preset = 'lite'
  config.model.init = 'fan_in'
  config.data.source = 'characters'
  config.data.pipeline = 'memory'
  config.data.size = 96
  config.data.num_identities = 1536
  config.data.pairs_per_identity = 5
  config.data.rotated_fraction = 0.75
  config.data.source_rotated_fraction = 0.2
  config.data.validation_identities = 64
  config.data.validation_pairs = 96
  config.loss.objective = 'structural'
  config.loss.part_weight = 8.0
  config.loss.exchange = False
  config.loss.painted_weight = 2.0
  config.loss.share_weight = 1.0
  config.loss.freeze_warp = True
  config.loss.flow_weight = 5.0
  config.loss.flow_weight_editing = 0.0
  config.loss.edit_from_step = 8000
  config.optimizer.learning_rate = 2e-3
  config.optimizer.b1 = 0.9
  config.optimizer.schedule = 'cosine'
  config.optimizer.restart_step = config.loss.edit_from_step
  config.optimizer.warmup_steps = 100
  config.optimizer.clip_norm = 1.0
  config.train.num_steps = 16_000
  config.train.ema_decay = 0.995
  config.train.log_every = 100
  config.train.eval_every = 2000
  config.train.eval_batch_size = 16
  config.train.checkpoint_every = 1000


def _make_tiny(config: ml_collections.ConfigDict) -> None:
  _make_lite(config)
  config.model.preset = 'tiny'
  config.data.size = 32
  config.data.num_identities = 4
  config.data.validation_identities = 2
  config.data.validation_pairs = 6
  config.data.pairs_per_identity = 4
  config.data.rotated_fraction = 0.5
  config.data.source_rotated_fraction = 0.5
  config.loss.exchange = True
  config.loss.painted_weight = 0.0
  config.loss.share_weight = 0.0
  config.loss.freeze_warp = False
  config.loss.flow_weight = 0.3
  config.loss.flow_weight_editing = 0.05
  config.loss.edit_from_step = 4
  # A rate that depends on the run's length would differ in a shorter one.
  config.optimizer.schedule = 'constant'
  config.optimizer.restart_step = 0
  config.optimizer.warmup_steps = 0
  config.train.batch_size = 8
  config.train.eval_batch_size = 4
  config.train.num_steps = 8
  config.train.log_every = 2
  config.train.eval_every = 4
  config.train.checkpoint_every = 4
  config.train.pictures = False
  config.compile_cache_dir = ''


def sweep(add) -> None:
  """How strongly the eyes and the mouth count; `add` takes one trial."""
  for weight in (0.0, 4.0, 8.0, 16.0):
    add(**{'loss.part_weight': weight})
