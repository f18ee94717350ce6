"""The report's style sheet: calm, readable, light and dark."""

from __future__ import annotations

from edtn_jax.pictures import style


def _lighter(color: style.Color, share: float) -> str:
  return style.hex_color(tuple(round(c + (255 - c) * share) for c in color))


def _group_variables(share: float) -> str:
  return ' '.join(
    f'--{group}: {_lighter(color, share)};'
    for group, color in style.GROUP_COLORS.items()
  )


STYLE = (
  f"""
:root {{
  --page: {style.hex_color(style.PAPER)};
  --card: #ffffff;
  --ink: {style.hex_color(style.INK)};
  --muted: #697180;
  --line: #e4e1da;
  --code: #f2f0eb;
  {_group_variables(0.0)}
}}
@media (prefers-color-scheme: dark) {{
  :root {{
    --page: #15171c;
    --card: #1d2027;
    --ink: #e8e6e1;
    --muted: #9aa1ad;
    --line: #333842;
    --code: #23272f;
    {_group_variables(0.28)}
  }}
}}
"""
  + """
* { box-sizing: border-box; }
body {
  margin: 0;
  background: var(--page);
  color: var(--ink);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans",
    "Helvetica Neue", Arial, sans-serif;
}
main { max-width: 1080px; margin: 0 auto; padding: 56px 24px 96px; }
h1 {
  font-size: clamp(28px, 4.5vw, 42px);
  line-height: 1.15;
  letter-spacing: -0.02em;
  margin: 0 0 12px;
  text-wrap: balance;
}
h2 {
  font-size: 22px;
  letter-spacing: -0.01em;
  margin: 0 0 12px;
}
section { margin-top: 64px; }
p { margin: 0 0 16px; max-width: 68ch; color: var(--muted); }
.introduction { font-size: 18px; }
figure { margin: 0; }
img { display: block; width: 100%; height: auto; border-radius: 10px; }
figure img { border: 1px solid var(--line); }
.hero { margin-top: 28px; }
.hero img { box-shadow: 0 10px 40px -18px rgb(0 0 0 / 0.35); }
figcaption { margin-top: 10px; font-size: 14px; color: var(--muted); }
.headlines {
  display: grid;
  grid-template-columns: repeat(auto-fit, minmax(150px, 1fr));
  gap: 12px;
  margin-top: 28px;
}
.headlines div {
  background: var(--card);
  border: 1px solid var(--line);
  border-radius: 10px;
  padding: 14px 18px;
}
.headlines b {
  display: block;
  font-size: 26px;
  font-weight: 650;
  letter-spacing: -0.02em;
  line-height: 1.3;
  font-variant-numeric: tabular-nums;
}
.headlines small {
  font-size: 14px;
  font-weight: 400;
  color: var(--muted);
  margin-left: 4px;
  letter-spacing: 0;
}
.headlines span { font-size: 14px; color: var(--muted); }
.observations { margin: 0; padding: 0; list-style: none; max-width: 76ch; }
.observations li {
  padding: 6px 0 6px 22px;
  position: relative;
}
.observations li::before {
  content: "";
  position: absolute;
  left: 2px;
  top: 15px;
  width: 8px;
  height: 8px;
  border-radius: 4px;
  background: var(--eye);
}
.observations li:nth-child(4n+2)::before { background: var(--eyebrow); }
.observations li:nth-child(4n+3)::before { background: var(--mouth); }
.observations li:nth-child(4n+4)::before { background: var(--head); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 15px; }
tr { border-top: 1px solid var(--line); }
tr:last-child { border-bottom: 1px solid var(--line); }
th, td { text-align: left; padding: 9px 20px 9px 0; vertical-align: top; }
th { font-weight: 550; white-space: nowrap; }
td { color: var(--muted); }
td.number {
  color: var(--ink);
  white-space: nowrap;
  font-variant-numeric: tabular-nums;
}
table.numbers th.number { font-weight: 400; color: var(--muted); }
table.numbers { width: auto; }
table.small { font-size: 13px; }
table.small th, table.small td { padding: 5px 20px 5px 0; }
table.small th { width: 260px; }
table.small td {
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
  overflow-wrap: anywhere;
}
.grid {
  display: grid;
  grid-template-columns: repeat(auto-fill, minmax(300px, 1fr));
  gap: 14px;
}
.card {
  background: var(--card);
  border: 1px solid var(--line);
  border-radius: 10px;
  padding: 12px;
}
.card svg { display: block; width: 100%; height: auto; }
.card.wide svg { min-width: 720px; }
.command { margin-bottom: 18px; }
.command p { margin-bottom: 6px; }
pre {
  margin: 0;
  padding: 12px 16px;
  overflow-x: auto;
  background: var(--code);
  border-radius: 8px;
  font: 14px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
}
pre code { user-select: all; }
details { border-top: 1px solid var(--line); padding: 10px 0; }
details:last-of-type { border-bottom: 1px solid var(--line); }
summary { cursor: pointer; font-weight: 550; }
details table { margin-top: 8px; }
details tr:last-child { border-bottom: 0; }
@media (max-width: 640px) {
  main { padding: 32px 16px 64px; }
  table:not(.numbers) :is(th, td) {
    display: block;
    width: auto;
    padding: 2px 0;
  }
  table:not(.numbers) tr { display: block; padding: 8px 0; }
}
@media print { body { background: #fff; } section { break-inside: avoid; } }
"""
)
