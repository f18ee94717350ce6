r"""EDTN: learn to translate human expressions to anime, without pairs.

Paper: "Expression Domain Translation Network for Cross-domain Head
Reenactment", arXiv 2310.10073. Values are the paper's unless a comment says
otherwise.

    edtn train --config=configs/edtn.py --workdir=runs/edtn
    edtn train --config=configs/edtn.py:code --workdir=runs/edtn_code
    edtn train --config=configs/edtn.py:vertex --config.loss.vertex_weight=10

Arguments (comma-separated, e.g. `code,vertex`):
    paper | code                reading of the loss (default paper)
    vertex | landmark | vertex_landmark | all
                                Table 2's ablations (default all)
    dataset                     a prepared data set, --config.data.path=...
    demo                        a minute, for `edtn demo`
    tiny                        seconds, for tests

Hardware and time: see README, "Measured".
"""

import ml_collections

_READINGS = ('paper', 'code')
_SIZES = ('demo', 'tiny')
# Table 2: which terms are on.
_ABLATIONS = {
  'vertex': ('vertex',),
  'landmark': ('landmark',),
  'vertex_landmark': ('vertex', 'landmark'),
  'all': ('vertex', 'landmark', 'eye', 'mouth'),
}

ARGUMENTS = (*_READINGS, *_ABLATIONS, *_SIZES)


def get_config(arg: str = '') -> ml_collections.ConfigDict:
  """Returns the config; `arg` is described in the module's docstring."""
  words = [w for w in arg.split(',') if w]
  known = {*ARGUMENTS, 'dataset'}
  unknown = sorted(set(words) - known)
  if unknown:
    raise ValueError(
      f'unknown config argument {", ".join(unknown)}; '
      f'known: {", ".join(sorted(known))}'
    )
  config = _base()
  for word in words:
    if word in _READINGS:
      config.loss.reading = word
    elif word in _ABLATIONS:
      for term in _ABLATIONS['all']:
        if term not in _ABLATIONS[word]:
          config.loss[f'{term}_weight'] = 0.0
    elif word == 'dataset':
      config.data.source = 'dataset'
    else:
      {'demo': _make_demo, 'tiny': _make_tiny}[word](config)
  return config


def _base() -> ml_collections.ConfigDict:
  config = ml_collections.ConfigDict()
  config.task = 'expression_translation'
  config.seed = 0
  config.resume_from = ''
  config.init_from = ''
  config.compile_cache_dir = '~/.cache/edtn_jax'

  config.model = model = ml_collections.ConfigDict()
  model.hidden_sizes = (512, 512, 512)
  model.negative_slope = 0.2
  model.dtype = 'float32'

  config.face = face = ml_collections.ConfigDict()
  face.model = 'procedural'  # or a FLAME file: generic_model.pkl, .npz
  face.landmarks = ''  # its landmark embedding(s), comma-separated
  face.pose_adapter = 'fit'  # or a [17, 50] .npy
  face.adapter_penalty = 1e-3
  # Whose expression numbers the codes are: 'procedural', 'flame' (DECA), or
  # 'auto': FLAME's where the model is a file.
  face.expression_space = 'auto'

  config.loss = loss = ml_collections.ConfigDict()
  loss.reading = 'paper'
  loss.form = 'projected'  # 'mesh' goes through the FLAME layer
  loss.vertex_weight = 100.0  # lambda_ver, eq. 6
  loss.landmark_weight = 1.0
  loss.eye_weight = 1.0
  loss.mouth_weight = 1.0
  loss.sparsity_weight = 0.0  # not in the paper, see losses/terms.py

  config.data = data = ml_collections.ConfigDict()
  data.source = 'procedural'
  data.path = ''
  data.train_split = 'train'
  data.validation_split = 'validation'
  data.pipeline = 'memory'  # 'stream' reads from disk while training
  data.num_workers = 0
  data.num_threads = 0  # codes are small: threads only wait for each other
  # Of the procedural source only; VoxCeleb has 18,503 training videos.
  data.num_identities = 18_503
  data.validation_identities = 504
  data.frames_per_identity = 10
  data.procedural_seed = 0
  data.offset_scale = 0.3
  data.noise_scale = 0.05

  config.optimizer = optimizer = ml_collections.ConfigDict()
  optimizer.name = 'adam'
  optimizer.learning_rate = 1e-4
  optimizer.b1 = 0.5  # the code's betas; the paper names none
  optimizer.b2 = 0.999
  optimizer.weight_decay = 0.0
  optimizer.clip_norm = 0.0
  optimizer.schedule = 'constant'
  optimizer.warmup_steps = 0
  optimizer.restart_step = 0  # of a cosine
  optimizer.drop_step = 0
  optimizer.drop_factor = 0.2

  # How arrays lie on devices: see edtn_jax/sharding.py.
  config.sharding = sharding = ml_collections.ConfigDict()
  sharding.mesh = ml_collections.ConfigDict({'data': -1, 'model': 1})
  sharding.rules = (('batch', 'rows(data)'), ('.*', 'replicate'))

  config.train = train = ml_collections.ConfigDict()
  train.batch_size = 512
  train.num_epochs = 50
  train.num_steps = 0  # if above 0, instead of num_epochs
  train.ema_decay = 0.0
  train.log_every = 50
  train.eval_every = 0  # steps; 0 is once an epoch
  train.eval_batch_size = 512
  train.checkpoint_every = 500
  train.pictures = True
  train.profile_steps = (0, 0)  # trace steps [begin, end)
  return config


def _make_demo(config: ml_collections.ConfigDict) -> None:
  config.data.num_identities = 2000
  config.data.validation_identities = 100
  config.train.num_steps = 2000
  config.train.log_every = config.train.eval_every = 200
  config.train.checkpoint_every = 1000
  # DEVIATION: as many steps as the paper's in a tenth of the people, at ten
  # times its rate, and calm poses preferred; `edtn demo` shows the result.
  config.optimizer.learning_rate = 1e-3
  config.optimizer.b1 = 0.9
  config.optimizer.schedule = 'cosine'
  config.loss.sparsity_weight = 0.1


def _make_tiny(config: ml_collections.ConfigDict) -> None:
  config.model.hidden_sizes = (16, 16)
  config.data.num_identities = 32
  config.data.validation_identities = 4
  config.data.frames_per_identity = 4
  config.train.batch_size = 16
  config.train.eval_batch_size = 16
  config.train.num_steps = 8
  config.train.log_every = 2
  config.train.eval_every = 4
  config.train.checkpoint_every = 4
  config.train.pictures = False
  config.compile_cache_dir = ''


# What the plot of a sweep shows; the loss itself changes with its weights.
SWEEP_METRIC = 'lid_error_mm'

# Table 2: the paper's name of a row, and its KDR (VoxCeleb, AnimeCeleb).
_TABLE2 = {
  'vertex': ('vertex', 0.2431),
  'landmark': ('landmark', 0.2394),
  'vertex_landmark': ('vertex, landmark', 0.2390),
  'all': ('all', 0.2360),
}


def sweep(add) -> None:
  """lambda_ver around the paper's 100; `add(**overrides)` takes one trial."""
  for weight in (0.0, 1.0, 10.0, 100.0, 1000.0, 10000.0):
    add(**{'loss.vertex_weight': weight})


def sweep_table2(add) -> None:
  """Table 2: which terms are on.

  `add(label, beside, **overrides)` names a trial and gives numbers that its
  row of the table shows beside the measured ones.
  """
  for name, terms in _ABLATIONS.items():
    label, kdr = _TABLE2[name]
    off = [term for term in _ABLATIONS['all'] if term not in terms]
    weights = {f'loss.{term}_weight': 0.0 for term in off}
    add(label, {'KDR in the paper': kdr}, **weights)
