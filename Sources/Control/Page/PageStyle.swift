// Written by tools/embed-page from assets/page.css; change that one.

enum PageStyle {
  static let text = ##"""
:root {
  color-scheme: light dark;
  --ground: #f4f6f8;
  --card: #ffffff;
  --line: #dfe4ea;
  --ink: #15202b;
  --soft: #586674;
  --up: #0f766e;
  --down: #6d4bd8;
  --warm: #b45309;
  --bad: #b42318;
  --bad-ground: #fdecea;
  --good: #157f4c;
  --good-ground: #e3f5ea;
  --idle-ground: #eceff3;
  --focus: #2563eb;
  --shadow: 0 1px 2px rgb(16 32 48 / 6%), 0 4px 16px rgb(16 32 48 / 5%);
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #0e141b;
    --card: #161e27;
    --line: #293440;
    --ink: #e6edf3;
    --soft: #94a3b3;
    --up: #3fd0bd;
    --down: #a78bfa;
    --warm: #f0a948;
    --bad: #ff8a80;
    --bad-ground: #3a1e1e;
    --good: #62d394;
    --good-ground: #15321f;
    --idle-ground: #222c37;
    --focus: #7fb2ff;
    --shadow: none;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto;
  max-width: 86rem;
  padding: 0 1.25rem 2rem;
  background: var(--ground);
  color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
h1, h2, p, dl, dd, figure { margin: 0; }
h1 { display: flex; align-items: center; gap: .6rem; font-size: 1.25rem; letter-spacing: -.01em; }
h2 { font-size: .95rem; font-weight: 650; letter-spacing: .005em; }
a { color: inherit; }
:focus-visible { outline: 2px solid var(--focus); outline-offset: 2px; border-radius: 4px; }
.skip { position: absolute; left: -100rem; }
.skip:focus { left: 1rem; top: .5rem; background: var(--card); padding: .5rem 1rem; z-index: 2; }

.top {
  display: flex;
  flex-wrap: wrap;
  align-items: center;
  gap: .4rem 1.25rem;
  padding: 1.1rem 0 .9rem;
}
.facts { color: var(--soft); font-size: .87rem; flex: 1 1 12rem; min-width: 0; }
.live { display: flex; align-items: center; gap: .45rem; font-size: .87rem; color: var(--soft); }
.dot { width: .6rem; height: .6rem; border-radius: 50%; background: var(--soft); }
.dot.on { background: var(--good); }
.dot.off { background: var(--bad); }
button {
  font: inherit;
  font-size: .87rem;
  color: inherit;
  background: var(--card);
  border: 1px solid var(--line);
  border-radius: 8px;
  padding: .4rem .9rem;
  min-height: 2.25rem;
  cursor: pointer;
}
button:hover { border-color: var(--soft); }
button[aria-pressed="true"] { background: var(--idle-ground); }

.note {
  background: var(--idle-ground);
  border-left: 4px solid var(--warm);
  border-radius: 6px;
  padding: .6rem .9rem;
  margin: 0 0 .75rem;
  overflow-wrap: anywhere;
}
.note.bad { background: var(--bad-ground); border-color: var(--bad); }

main { display: grid; gap: 1rem; grid-template-columns: minmax(0, 1fr); }
main:focus { outline: none; }
.card {
  background: var(--card);
  border: 1px solid var(--line);
  border-radius: 12px;
  box-shadow: var(--shadow);
  padding: .95rem 1.1rem;
  min-width: 0;
}
.tiles { display: grid; gap: 1rem; grid-template-columns: repeat(6, minmax(0, 1fr)); }
.tile {
  background: var(--card);
  border: 1px solid var(--line);
  border-radius: 12px;
  box-shadow: var(--shadow);
  padding: .8rem 1rem;
  display: flex;
  flex-direction: column;
}
.tile dt { color: var(--soft); font-size: .82rem; }
.tile dd { font-size: 1.55rem; font-weight: 650; letter-spacing: -.02em; line-height: 1.3;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
.tile dd.more { font-size: .8rem; font-weight: 400; letter-spacing: 0; color: var(--soft);
  white-space: normal; }
.tile.bad dd:not(.more) { color: var(--bad); }
.tile.up dd:not(.more) { color: var(--up); }
.tile.down dd:not(.more) { color: var(--down); }

.charts, .pair { display: grid; gap: 1rem; grid-template-columns: repeat(2, minmax(0, 1fr)); }
.pair { align-items: start; }
figcaption { display: flex; flex-wrap: wrap; gap: .2rem 1rem; align-items: baseline;
  justify-content: space-between; margin-bottom: .5rem; }
.key { display: flex; flex-wrap: wrap; gap: 0 1rem; font-size: .82rem; color: var(--soft);
  font-variant-numeric: tabular-nums; }
.key span::before { content: ""; display: inline-block; width: .65rem; height: .65rem;
  border-radius: 2px; margin-right: .4rem; background: currentColor; }
.key .up { color: var(--up); }
.key .down { color: var(--down); }
.key .when::before { display: none; }
canvas { display: block; width: 100%; height: 13rem; touch-action: pan-y; }

.scroll { overflow-x: auto; margin-top: .5rem; border-radius: 6px; }
table { border-collapse: collapse; width: 100%; font-size: .9rem;
  font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 500; font-size: .8rem; color: var(--soft); }
th, td { padding: .42rem .7rem .42rem 0; border-top: 1px solid var(--line);
  vertical-align: baseline; }
thead th { border-top: 0; white-space: nowrap; }
th:last-child, td:last-child { padding-right: 0; }
th.number, td.number { text-align: right; white-space: nowrap; }
td.name, th.name { font-weight: 600; color: var(--ink); font-size: .9rem; }
td.name, td.text { overflow-wrap: anywhere; min-width: 6.5rem; }
td.inner { min-width: 11rem; }
td.soft, span.soft { color: var(--soft); }
td.inner { padding-left: 1.1rem; }
tr.group > * { border-top-color: var(--soft); }
.none { color: var(--soft); padding: .3rem 0; border: 0; }
.state { display: inline-block; padding: 0 .55rem; border-radius: 999px; font-size: .78rem;
  font-weight: 600; line-height: 1.55; background: var(--idle-ground); color: var(--soft);
  white-space: nowrap; }
.state.good { background: var(--good-ground); color: var(--good); }
.state.bad { background: var(--bad-ground); color: var(--bad); }
.bar { display: block; height: 4px; border-radius: 2px; background: var(--idle-ground);
  margin-top: .3rem; overflow: hidden; }
.bar svg { display: block; width: 100%; height: 4px; }
.bar rect { fill: var(--up); }
footer { color: var(--soft); font-size: .82rem; padding: 1.2rem 0 0; }
kbd { font: inherit; border: 1px solid var(--line); border-radius: 4px; padding: 0 .35rem;
  background: var(--card); }

@media (max-width: 70rem) { .tiles { grid-template-columns: repeat(3, minmax(0, 1fr)); } }
@media (max-width: 52rem) { .charts, .pair { grid-template-columns: minmax(0, 1fr); } }
@media (max-width: 40rem) {
  body { padding: 0 .75rem 1.5rem; }
  main, .tiles, .charts, .pair { gap: .7rem; }
  .tiles { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .tile dd { font-size: 1.3rem; }
  .card { padding: .8rem .85rem; }
  .facts { order: 5; flex-basis: 100%; }
  .live { margin-left: auto; }
  canvas { height: 10.5rem; }
}
@media (prefers-reduced-motion: no-preference) {
  .dot.on { animation: beat 2s ease-in-out infinite; }
  @keyframes beat { 50% { opacity: .45; } }
}
@media print { button, .skip, footer { display: none; } .card, .tile { box-shadow: none; } }

"""##
}
