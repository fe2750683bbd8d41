"""The look of the report."""

__all__ = ["STYLE"]

STYLE = """
:root { --ink: #1c1917; --soft: #57534e; --line: #e7e5e4; --card: #ffffff; --page: #f5f5f4; --accent: #2563eb; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); line-height: 1.5;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 28px 20px 60px; }
header { display: flex; flex-wrap: wrap; align-items: center; gap: 6px 18px; margin-bottom: 6px; }
h1 { font-size: 27px; margin: 0; letter-spacing: -0.4px; }
h2 { font-size: 17px; margin: 0 0 2px; }
p { margin: 0 0 10px; color: var(--soft); }
.lead { font-size: 16px; max-width: 900px; margin-bottom: 20px; }
.verdict { padding: 3px 13px; border-radius: 999px; font-weight: 650; font-size: 14px; }
.passed { background: #dcfce7; color: #166534; }
.failed { background: #fee2e2; color: #991b1b; }
.problems { background: #fee2e2; color: #7f1d1d; border-radius: 10px; padding: 12px 18px 12px 34px; margin: 0 0 18px; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(132px, 1fr)); gap: 14px; margin-bottom: 16px; }
.figure { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 13px 14px; }
.figure b { display: block; font-size: 26px; line-height: 1.2; letter-spacing: -0.6px; font-weight: 650; }
.figure b small { font-size: 15px; font-weight: 500; color: var(--soft); letter-spacing: 0; }
.figure .name { font-size: 13px; font-weight: 600; color: var(--soft); }
.figure .note { font-size: 12.5px; color: var(--soft); }
.cards { display: grid; grid-template-columns: repeat(12, minmax(0, 1fr)); gap: 16px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 16px 18px; }
.span5 { grid-column: span 5; } .span6 { grid-column: span 6; } .span7 { grid-column: span 7; }
.span12 { grid-column: span 12; }
.column { display: flex; flex-direction: column; gap: 16px; }
@media (max-width: 900px) { .span5, .span6, .span7 { grid-column: span 12; } }
svg { display: block; width: 100%; height: auto; }
svg.map { border-radius: 8px; }
svg.chart text { font-size: 12px; fill: var(--soft); }
svg.chart .label { font-size: 12.5px; fill: var(--ink); }
svg.chart .grid { stroke: #eeeceb; } svg.chart .axis, svg.chart .tick { stroke: #a8a29e; }
svg .on-map { font-size: 21px; font-weight: 650; fill: #fff; stroke: #0b1a10; stroke-width: 4px; paint-order: stroke; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: 13px; color: var(--soft); margin: 6px 0 8px; }
.legend i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px;
  vertical-align: -1px; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--soft); } th.number, td.number { text-align: right; }
th, td { padding: 5px 8px 5px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td, tr:last-child th { border-bottom: 0; }
td code { font-size: 12.5px; word-break: break-all; }
.bar { display: block; height: 12px; border-radius: 3px; min-width: 2px; }
.flow { display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 12px; margin-bottom: 10px; }
.flow b { font-size: 20px; } .flow span { color: var(--soft); }
.scale { height: 10px; border-radius: 5px; margin: 8px 0 2px;
  background: linear-gradient(90deg, #440154, #3b528b, #21918c, #5ec962, #fde725); }
.ends { display: flex; justify-content: space-between; font-size: 12.5px; color: var(--soft); }
.pairs { display: grid; grid-template-columns: repeat(auto-fit, minmax(205px, 1fr)); gap: 14px; }
.pairs figure { margin: 0; } .pairs img { display: block; width: 100%; border-radius: 6px; margin-bottom: 6px; }
.pairs figcaption { font-size: 12.5px; color: var(--soft); }
.nothing { background: #fafaf9; border: 1px dashed #d6d3d1; border-radius: 8px; padding: 14px; color: var(--soft); }
footer { margin-top: 22px; font-size: 12.5px; color: var(--soft); }
@media print { body { background: #fff; } .card, .figure { break-inside: avoid; } }
"""
