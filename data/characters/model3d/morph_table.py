"""Which morph targets make which of our 17 coefficients: one table of data.

Each coefficient has candidates, the best first; the first one that the model
has, and that moves something, is taken. A candidate is a recipe:

    [marks] part + part ...     part = [weight *] name

`name` is looked up without case, spaces and punctuation, among VRM expressions
(as `vrm:name`) or morph targets (plain). `{L}`, `{l}`, `{Left}`, `{left}` and
`{右}` stand for the side: L/R, l/r, Left/Right, left/right and, as in
MikuMikuDance, nothing for left. Marks, between `<` and `>`:

    split    both sides move together; cut in two at the middle of the face
    eyes     only the eyes' share counts (also `brows`)
    instead  a stand-in of another meaning, reported as filled

Sources: VRM 0 and 1 specifications (preset names), Apple's ARKit (52 blend
shapes), MikuMikuDance's usual Japanese names, VRoid Studio's `Fcl_*` targets.
"""

from __future__ import annotations

# For a coefficient with a left and a right one: candidates for either side.
PAIRED: dict[str, tuple[str, ...]] = {
  'eye_wink': (
    'vrm:blink_{l}',
    'vrm:blink{Left}',
    'Fcl_EYE_Close_{L}',
    'eyeBlink{Left}',
    'eyeBlink_{L}',
    'blink_{left}',
    'blink_{l}',
    'wink_{left}',
    'eye_close_{l}',
    'eyesClosed{L}',
    'ウィンク2{右}',
    '<split> vrm:blink',
    '<split> Fcl_EYE_Close',
    '<split> まばたき',
    '<split> blink',
    '<split> eyesClosed',
  ),
  'eye_happy_wink': (
    'Fcl_EYE_Joy_{L}',
    'eyeHappy{Left}',
    'eye_joy_{l}',
    'ウィンク{右}',
    '<split> Fcl_EYE_Joy',
    '<split> 笑い',
    '<split eyes> vrm:happy',
    '<split eyes> vrm:joy',
    # ARKit: a blink with the cheek raised.
    'eyeBlink{Left} + 0.5 * cheekSquint{Left}',
    '<split eyes> eyeBlink{Left} + 0.5 * mouthSmile{Left}',
  ),
  'eye_surprised': (
    'Fcl_EYE_Surprised_{L}',
    'eyeWide{Left}',
    'eyeWide_{L}',
    '<split> Fcl_EYE_Surprised',
    '<split> びっくり',
    '<split eyes> vrm:surprised',
    '<split> eyeWide',
    '<split> Fcl_EYE_Spread',
  ),
  'eyebrow_raised': (
    'browOuterUp{Left} + browInnerUp{Left}',
    '<split> browOuterUp{Left} + browInnerUp',
    'brow_up_{l}',
    'browUp{Left}',
    'eyebrow_raised_{left}',
    '<split> 上',
    '<split> Fcl_BRW_Surprised',
    '<split brows> vrm:surprised',
    '<split> browUp',
    '<split> browsUp',
    '<split> eyebrowRaised',
  ),
  'eyebrow_lowered': (
    'browDown{Left}',
    'browDown_{L}',
    'brow_down_{l}',
    'eyebrow_lowered_{left}',
    '<split> Fcl_BRW_Angry',
    '<split> 怒り',
    '<split> 下',
    '<split brows> vrm:angry',
    '<split> angled_eyebrows',
    '<split> eyebrowLowered',
  ),
  'eyebrow_troubled': (
    'browInnerUp{Left}',
    'eyebrow_troubled_{left}',
    '<split> Fcl_BRW_Sorrow',
    '<split> browInnerUp',
    '<split> 困る',
    '<split brows> vrm:sad',
    '<split brows> vrm:sorrow',
    '<split> eyebrowTroubled',
  ),
}

SINGLE: dict[str, tuple[str, ...]] = {
  'mouth_a': (
    'vrm:a',
    'vrm:aa',
    'Fcl_MTH_A',
    'あ',
    'jawOpen',
    'viseme_aa',
    'vrc.v_aa',
    'mouth_a',
    'ah',
    'aa',
    'mouthOpen',
  ),
  'mouth_e': (
    'vrm:e',
    'vrm:ee',
    'Fcl_MTH_E',
    'え',
    '0.5 * jawOpen + 0.5 * mouthStretchLeft + 0.5 * mouthStretchRight',
    'viseme_E',
    'vrc.v_e',
    'mouth_e',
    'ee',
    '<instead> 0.5 * vrm:aa + 0.5 * vrm:ih',
  ),
  'mouth_i': (
    'vrm:i',
    'vrm:ih',
    'Fcl_MTH_I',
    'い',
    'mouthStretchLeft + mouthStretchRight',
    'viseme_I',
    'vrc.v_ih',
    'mouth_i',
    'ih',
    '<instead> mouthSmileLeft + mouthSmileRight',
  ),
  'mouth_o': (
    'vrm:o',
    'vrm:oh',
    'Fcl_MTH_O',
    'お',
    'mouthFunnel + 0.5 * jawOpen',
    'viseme_O',
    'vrc.v_oh',
    'mouth_o',
    'oh',
  ),
  'mouth_u': (
    'vrm:u',
    'vrm:ou',
    'Fcl_MTH_U',
    'う',
    'mouthPucker',
    'viseme_U',
    'vrc.v_ou',
    'mouth_u',
    'uu',
    'ou',
  ),
}

# When a model has none of the candidates, nor bones for it: made of other
# coefficients (of the same side), with these weights.
STAND_INS: dict[str, tuple[tuple[str, float], ...]] = {
  'eye_happy_wink': (('eye_wink', 1.0),),
  # A lid that can close can also go up a little.
  'eye_surprised': (('eye_wink', -0.15),),
  'eyebrow_raised': (('eyebrow_lowered', -0.6),),
  'eyebrow_lowered': (('eyebrow_raised', -0.6),),
  'eyebrow_troubled': (('eyebrow_raised', 0.5),),
  'mouth_e': (('mouth_a', 0.5),),
  'mouth_i': (('mouth_a', 0.25),),
  'mouth_o': (('mouth_a', 0.6),),
  'mouth_u': (('mouth_a', 0.25),),
}

# Movement of the bones of the brows in shares of the head's height, upwards,
# for models that have such bones and no morph: (inner end, outer end).
BROW_BONES: dict[str, tuple[float, float]] = {
  'eyebrow_raised': (0.05, 0.05),
  'eyebrow_lowered': (-0.04, 0.0),
  'eyebrow_troubled': (0.045, -0.01),
}
BROW_BONE_NAMES = ('brow', '眉', 'mayu')

# Coefficients that close or open the same part: together never more than 1.
TOGETHER: tuple[tuple[str, ...], ...] = (
  ('eye_wink_left', 'eye_happy_wink_left', 'eye_surprised_left'),
  ('eye_wink_right', 'eye_happy_wink_right', 'eye_surprised_right'),
  ('mouth_a', 'mouth_e', 'mouth_i', 'mouth_o', 'mouth_u'),
)
