"""The page that shows the stream; everything on it comes from this file."""

from __future__ import annotations

from edtn_jax.pictures import style

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>EDTN live</title>
<style>
body { margin: 0 auto; max-width: 1100px; padding: 1rem; background: PAPER;
       color: INK; font: 16px/1.4 system-ui, sans-serif; }
img { display: block; max-width: 100%; max-height: 75vh; margin: 0 auto;
      border-radius: 8px; background: GROUND; }
#state { text-align: center; font-size: 1.2rem; margin: .6rem; }
dl { display: flex; flex-wrap: wrap; gap: .3rem 2rem; margin: .6rem 0;
     justify-content: center; }
dt { color: MUTED; font-size: .85rem; }
dd { margin: 0; font-variant-numeric: tabular-nums; min-width: 6em; }
p { text-align: center; }
button { font: inherit; padding: .4rem 1rem; border-radius: 6px; color: INK;
         border: 1px solid MUTED; background: GROUND; cursor: pointer; }
.error { color: ALARM; }
</style>
<img id="picture" src="stream" alt="the character">
<div id="state" role="status">connecting</div>
<dl>
<div><dt>rate</dt><dd id="rate"></dd></div>
<div><dt>latency, median</dt><dd id="p50"></dd></div>
<div><dt>latency, 95 %</dt><dd id="p95"></dd></div>
<div><dt>frames driven</dt><dd id="driven"></dd></div>
<div><dt>frames dropped</dt><dd id="dropped"></dd></div>
</dl>
<p><button id="calibrate">Calibrate again</button></p>
<script>
const at = id => document.getElementById(id);
const ms = value => value === null ? '-' : Math.round(value) + ' ms';
const texts = {
  'starting': s => 'Waiting for the first frame of ' + s.source,
  'calibrating': s => 'Calibrating: look at the camera with a resting face, '
    + s.calibration_left_s.toFixed(1) + ' s',
  'no face': s => 'No face is seen in ' + s.source,
  'driving': s => 'Driven by ' + s.source,
};
let lost = false;
async function look() {
  try {
    const answer = await fetch('status', {cache: 'no-store'});
    const status = await answer.json();
    at('state').textContent = texts[status.state](status);
    at('state').className = status.state === 'no face' ? 'error' : '';
    at('rate').textContent = status.frames_per_second.toFixed(1)
      + ' frames/s of ' + status.source_frames_per_second.toFixed(1);
    at('p50').textContent = ms(status.latency_ms.p50);
    at('p95').textContent = ms(status.latency_ms.p95);
    at('driven').textContent = status.frames_driven;
    at('dropped').textContent = status.dropped;
    if (lost) at('picture').src = 'stream?' + Date.now();
    lost = false;
  } catch (error) {
    at('state').textContent = 'The program has ended.';
    at('state').className = 'error';
    lost = true;
  }
  setTimeout(look, 500);
}
at('calibrate').onclick = () => fetch('calibrate', {method: 'POST'});
look();
</script>
</html>
"""

PAGE = _PAGE
for _name, _color in (
  ('PAPER', style.PAPER),
  ('INK', style.INK),
  ('MUTED', style.MUTED),
  ('GROUND', style.MESH_BACKGROUND),
  ('ALARM', style.GROUP_COLORS['mouth']),
):
  PAGE = PAGE.replace(_name, style.hex_color(_color))
