"""What the command line does, as plain functions.

`main.py` makes the flags of each command from the function's arguments and
their help from its docstring. Heavy imports are inside the functions, so that
`--help` is quick.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from edtn_jax import shipped
from edtn_jax.flag_rules import changed, check_prepare, check_reenact


def train(
  config: Any, workdir: str, num_devices: int = 0, processes: str = ''
) -> int:
  """Train a task, or continue a run.

  Args:
    config: experiment file with its argument, e.g. configs/edtn.py:code;
      override any value: --config.loss.vertex_weight=10
    workdir: directory of the run; an existing run is continued
    num_devices: use so many devices; 0 uses all
    processes: which of several processes this is, as HOST:PORT,COUNT,NUMBER
      with the address of process 0; or auto to ask SLURM, a TPU slice, Open
      MPI or Kubernetes; ,heartbeat=SECONDS may follow. Empty takes
      EDTN_PROCESSES, and trains alone without it
  """
  from edtn_jax import distributed

  with distributed.joined(processes):
    from edtn_jax.training import train_and_evaluate

    train_and_evaluate(config, workdir, num_devices=num_devices or None)
  return 0


def evaluate(
  workdir: str,
  step: int = -1,
  data: str = '',
  split: str = '',
  pose_adapter: str = '',
  output: str = '',
  page: str = '',
  processes: str = '',
) -> int:
  """Validation metrics of a run, as JSON, a Markdown row and a page.

  Args:
    workdir: directory of the run, or bundle of "edtn export"
    step: checkpoint step; -1 takes the newest
    data: prepared data set; empty takes the data of the run
    split: split of the data set; empty takes the validation split
    pose_adapter: [17, 50] .npy file; empty takes the one of the run
    output: JSON file to write as well
    page: HTML file to write as well, with pictures and plots
    processes: which of several processes this is; see "edtn train --help"
  """
  from edtn_jax import distributed

  with distributed.joined(processes):
    import jax

    from edtn_jax import workdir as workdir_lib
    from edtn_jax.evaluation.run import evaluate, markdown_row

    found = evaluate(
      workdir,
      step=_step(step),
      data_path=data,
      split=split,
      pose_adapter=pose_adapter,
      pictures=bool(page),
    )
    if jax.process_index():
      return 0
    text = json.dumps(found.result, indent=2)
    if output:
      workdir_lib.write_text(output, text + '\n')
    if page:
      from edtn_jax.evaluation.page import write_page

      write_page(page, found)
    print(text)
    print(markdown_row(found.result))
  return 0


def export(
  workdir: str,
  output: str,
  step: int = -1,
  dtype: str = 'float32',
  formats: str = 'stablehlo,onnx',
  opset: int = 17,
  raw: bool = False,
) -> int:
  """Export a checkpoint for inference without the training stack.

  Args:
    workdir: directory of the run
    output: directory, or file that ends in .zip, to make
    step: checkpoint step; -1 takes the newest
    dtype: type of the stored parameters, float32 or float16
    formats: programs to write, comma-separated: stablehlo (cpu, cuda, tpu),
      onnx (needs the extra [onnx]); empty writes none
    opset: version of ONNX's operators
    raw: parameters as trained, instead of their moving average
  """
  from edtn_jax.export import export_run

  manifest = export_run(
    workdir,
    output,
    step=_step(step),
    averaged=False if raw else None,
    dtype=dtype,
    formats=_words(formats),
    opset=opset,
  )
  print(json.dumps(manifest, indent=2))
  return 0


def reenact(
  output: str,
  driving: str = '',
  workdir: str = '',
  bundle: str = '',
  step: int = -1,
  frames: str = '',
  face: str = '',
  landmarks: str = '',
  pose_adapter: str = '',
  clip: str = '',
  split: str = '',
  neutral: str = 'output',
  neutral_frames: str = '',
  mouth_gain: float = 1.0,
  eye_gain: float = 1.0,
  smoothing: bool = True,
  head_pose: str = 'absolute',
  angle_limit_deg: float = 35.0,
  fps: float = 0.0,
  audio: bool = True,
  encoder: str = 'landmarks',
  encoder_weights: str = '',
  landmark_map: str = '',
  media: str = 'gif',
  gif_every: int = 2,
  gif_max_frames: int = 120,
  puppet: str = '',
  puppet_size: int = 512,
  source: str = '',
  generator: str = '',
  crop: str = '',
  batch_size: int = 8,
  engine: str = 'auto',
  pose: str = '',
  live: bool = False,
  host: str = '127.0.0.1',
  port: int = 8765,
) -> int:
  """Drive an anime character by a face: pose vectors, moving pictures.

  Args:
    output: directory for the results
    driving: video or folder of pictures of a face; or codes: folder of DECA
      .mat files, prepared data set, .npz; with --live also webcam:0
    workdir: run of "edtn train" or "edtn convert", or bundle of "edtn
      export"; empty takes the network that comes with the project, which
      reads pictures and codes of the procedural head
    bundle: instead of --workdir and --generator, one or two bundles of "edtn
      export", comma-separated, of whichever of the two
    step: checkpoint step; -1 takes the newest
    frames: directory of driving frames to show beside the meshes
    face: FLAME file to draw with; empty takes the one of the run
    landmarks: landmark files of that face, comma-separated
    pose_adapter: [17, 50] .npy file; empty takes the one of the checkpoint
    clip: clip name, when driving is a data set
    split: split of the data set
    neutral: calibration of the resting face: output, code or none
    neutral_frames: names of neutral frames, comma-separated; empty finds them
    mouth_gain: factor of the mouth coefficients
    eye_gain: factor of the eye coefficients
    smoothing: whether to run the one-euro filter
    head_pose: absolute or relative
    angle_limit_deg: head angles are clamped to plus and minus this
    fps: frames a second of a driver that does not say; 0 is 25
    audio: whether an MP4 gets the driver's sound
    encoder: from pictures to codes: landmarks, or deca with its weights
    encoder_weights: for --encoder=deca, directory that "edtn convert" made
    landmark_map: for landmarks on a FLAME file, the public
      mediapipe_landmark_embedding.npz
    media: moving pictures to make, comma-separated: gif, mp4 (needs the extra
      [video]), webp, png (a folder of numbered frames); or none
    gif_every: GIF and WebP take one frame in so many; MP4 and PNG take all
    gif_max_frames: GIF and WebP end after so many pictures
    puppet: anime character to drive, a seed such as 7 or a .vrm, .glb or
      .gltf file; also drawn alone
    puppet_size: side of the pictures of that character alone, pixels
    source: any picture of an anime character, moved by the generator; with
      --puppet both are shown side by side
    generator: bundle or run of the generator; empty takes the one that comes
      with the project
    crop: square of the source to move, x,y,side in pixels; empty takes it
      from the transparency, or the middle
    batch_size: pictures that the generator computes at once
    engine: who runs the networks: jax; onnx, ONNX Runtime on the CPU, which
      needs the extra [onnx] and bundles with ONNX files (networks that come
      with the project have none and stay with jax); auto takes the faster of
      those that are there
    pose: instead of driving, draw the puppet or the source in one pose, such
      as mouth_a=0.8,eye_wink_left=1,yaw=15, or in all of them: sweep
    live: drive by a camera, or by a video in real time, and show the puppet
      or the source on a page; output gets a summary alone
    host: with --live, address of that page; anything but 127.0.0.1 opens it
      to the network
    port: with --live, port of that page; 0 takes a free one
  """
  check_reenact(changed(reenact, locals()))
  if bundle:
    from edtn_jax.bundle_choice import split_bundles

    networks = split_bundles(bundle, source=source, pose=pose)
    workdir, generator = networks['workdir'], networks['generator']
  if pose:
    _require(reenact, puppet=puppet or source)
  else:
    _require(reenact, driving=driving)
    workdir = workdir or str(shipped.bundle_of('expression_translation'))
  from edtn_jax.animation.puppet import CharacterChoice

  characters = CharacterChoice(
    puppet, source, generator, crop, batch_size, engine
  )
  if pose:
    from edtn_jax.pose_run import pose_run

    print(pose_run(output, characters=characters, pose=pose, size=puppet_size))
    return 0
  from edtn_jax.driver_choice import DriverChoice
  from edtn_jax.network_choice import NetworkChoice
  from edtn_jax.reenact_options import ReenactOptions
  from edtn_jax.reenact_run import reenact_run

  options = ReenactOptions(
    neutral=neutral,
    neutral_frames=_words(neutral_frames),
    mouth_gain=mouth_gain,
    eye_gain=eye_gain,
    smoothing=smoothing,
    head_pose=head_pose,
    angle_limit_deg=angle_limit_deg,
    fps=fps,
    audio=audio,
    media=() if media == 'none' else tuple(dict.fromkeys(_words(media))),
    gif_every=gif_every,
    gif_max_frames=gif_max_frames,
    puppet_size=puppet_size,
  )
  driver = DriverChoice(
    driving, clip, split, encoder, encoder_weights, landmark_map
  )
  network = NetworkChoice(
    workdir, _step(step), engine, face, landmarks, pose_adapter
  )
  if live:
    from edtn_jax.live.run import live_run

    summary = live_run(
      driver,
      network,
      output,
      options=options,
      characters=characters,
      host=host,
      port=port,
    )
    print(
      f'{summary["frames_driven"]} frames driven, {summary["dropped"]} dropped '
      f'-> {output}: summary.json'
    )
    return 0
  summary = reenact_run(
    driver,
    network,
    output,
    options=options,
    frames=frames,
    characters=characters,
  )
  print(f'{summary["frames"]} frames -> {output}: {summary["files"]}')
  return 0


def prepare(
  output: str,
  input: str = '',
  procedural: int = 0,
  characters: int = 0,
  anime: str = '',
  videos: str = '',
  frames_per_identity: int = 50,
  size: int = 256,
  seed: int = 0,
  validation_fraction: float = 0.02,
  image_format: str = 'png',
  train_list: str = '',
  test_list: str = '',
  styles: str = '',
  encoder: str = 'landmarks',
  encoder_weights: str = '',
  landmark_map: str = '',
  num_processes: int = 1,
  overwrite: bool = False,
  fit_adapter: bool = False,
  face: str = '',
  landmarks: str = '',
) -> int:
  """Make a data set of codes or anime pictures, or fit a pose adapter.

  Args:
    output: data set directory to make, or .npy file of the fitted adapter
    input: VoxCeleb + DECA tree, or any folder of .mat files
    procedural: instead of an input, so many procedural identities (codes)
    characters: instead of an input, so many characters drawn by code
    anime: instead of an input, a tree of pictures in AnimeCeleb's format
    videos: instead of an input, a folder of videos of people (codes); needs
      the extras [video] and [facemesh]
    frames_per_identity: of procedural identities and of characters
    size: side of the characters' pictures, pixels
    seed: of procedural identities, and of the characters' poses
    validation_fraction: share of the identities held out
    image_format: of anime pictures in the data set: png, webp (lossless,
      half the size) or jpeg (on white)
    train_list: for --anime, file with one identity a line to train on
    test_list: for --anime, file with one identity a line to test on
    styles: of the characters, comma-separated; empty takes all: flat, cel,
      soft, line_art
    encoder: from videos to codes: landmarks, or deca with its weights
    encoder_weights: for --encoder=deca, directory that "edtn convert" made
    landmark_map: for landmarks on a FLAME file, the public
      mediapipe_landmark_embedding.npz
    num_processes: processes that read, encode or draw
    overwrite: replace a finished data set
    fit_adapter: instead, fit a [17, 50] pose adapter and draw it
    face: FLAME file to fit the adapter, or the landmarks of videos, to; empty
      takes the procedural head
    landmarks: landmark files of that face, comma-separated
  """
  check_prepare(changed(prepare, locals()))
  from edtn_jax.encoders.choice import EncoderChoice
  from edtn_jax.prepare_run import fit_adapter_run, prepare_run

  if fit_adapter:
    picture = fit_adapter_run(output, face=face, landmarks=landmarks)
    print(f'{output}, drawn in {picture}')
    return 0
  manifest = prepare_run(
    output,
    input_dir=input,
    procedural=procedural,
    characters=characters,
    anime=anime,
    videos=videos,
    frames_per_identity=frames_per_identity,
    size=size,
    seed=seed,
    validation_fraction=validation_fraction,
    image_format=image_format,
    train_list=train_list,
    test_list=test_list,
    styles=_words(styles),
    encoder=EncoderChoice(
      encoder, encoder_weights, face, landmarks, landmark_map
    ),
    num_processes=num_processes,
    overwrite=overwrite,
  )
  print(json.dumps(manifest['splits'], indent=2))
  return 0


def convert(
  input: str,
  workdir: str,
  model: str = '',
  weights: str = '',
  size: int = 0,
  pose_adapter: str = '',
) -> int:
  """Turn public weights (PyTorch) into a run that every command reads.

  Args:
    input: the torch file, such as EDTN.pt, a generator's .ckpt or
      deca_model.tar; nothing in it is executed
    workdir: directory to make
    model: edtn, pirenderer, animo, fomm or deca; empty tells it from the names
      in the file
    weights: of a generator, ema (moving average), raw or bare (a state dict of
      the network alone); empty takes the first of them that is there
    size: side of the pictures that the pirenderer was trained on, pixels; 0
      takes 256
    pose_adapter: [17, 50] .npy file that belongs to the weights of edtn
  """
  from edtn_jax.convert.recognize import MODELS
  from edtn_jax.convert.run import convert_run

  found = convert_run(
    input,
    workdir,
    model=model,
    weights=weights,
    size=size,
    pose_adapter=pose_adapter,
  )
  known = MODELS[found]
  print(f'{input}: {known.title} -> {workdir}\n{known.use}')
  return 0


def demo(
  output: str = 'demo_out',
  driving: str = '',
  weights: str = '',
  pose_adapter: str = '',
  frames: str = '',
  num_steps: int = 0,
  seed: int = 0,
  puppet: str = '',
  generator: str = '',
) -> int:
  """Train on procedural codes, evaluate, reenact, write a report.

  Args:
    output: directory for the results
    driving: video or folder of pictures of a face, which needs the extras
      [video] and [facemesh]; or real codes, which need --weights and
      --pose_adapter
    weights: released EDTN.pt for real codes
    pose_adapter: released [17, 50] .npy for real codes
    frames: for real codes, directory of driving frames to show
    num_steps: training steps; 0 takes the demo's own number
    seed: of data and training
    puppet: anime character that is driven, a seed or a .vrm, .glb or .gltf
      file; empty takes one that the generator has never seen
    generator: bundle or run that moves a picture of that character as well;
      empty takes the one that comes with the project
  """
  from edtn_jax.demo import run_demo

  report = run_demo(
    output,
    driving=driving,
    weights=weights,
    pose_adapter=pose_adapter,
    frames=frames,
    num_steps=num_steps,
    seed=seed,
    puppet=puppet,
    generator=generator,
  )
  if report is None:
    print('Stopped by a signal and saved; the same command continues.')
  else:
    print(f'Open {report} in a browser.')
  return 0


COMMANDS = {
  'train': train,
  'evaluate': evaluate,
  'export': export,
  'reenact': reenact,
  'prepare': prepare,
  'convert': convert,
  'demo': demo,
}


def _require(command: Callable[..., int], **values: str) -> None:
  missing = [f'--{name}=...' for name, value in values.items() if not value]
  if missing:
    raise ValueError(
      f'needs {" and ".join(missing)}; see: edtn {command.__name__} --help'
    )


def _step(step: int) -> int | None:
  return None if step < 0 else step


def _words(text: str) -> tuple[str, ...]:
  return tuple(word for word in text.split(',') if word)
