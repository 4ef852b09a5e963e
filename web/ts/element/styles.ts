// How the element looks: theme, frame, controls. The views' own rules are in `styles-views.ts`.
//
// Colours are pairs for light and dark; which one holds follows the `color-scheme` of the page around the element, and
// each can be replaced from outside through the custom property named beside it.

import { VIEW_STYLES } from "./styles-views.js";

const THEME = `
:host {
  --bg: var(--parhelion-background, light-dark(#fbf9f5, #11141a));
  --surface: var(--parhelion-surface, light-dark(#ffffff, #1a1e27));
  --sunken: var(--parhelion-sunken, light-dark(#f1ece3, #0c0f14));
  --text: var(--parhelion-text, light-dark(#211d18, #ebe7df));
  --muted: var(--parhelion-muted, light-dark(#635b50, #a8a297));
  --border: var(--parhelion-border, light-dark(#e3dccf, #2c323d));
  --control: var(--parhelion-control, light-dark(#8d8373, #6c7482));
  --accent: var(--parhelion-accent, light-dark(#ad4800, #ffb35c));
  --on-accent: var(--parhelion-on-accent, light-dark(#ffffff, #241300));
  --danger: var(--parhelion-danger, light-dark(#a3221b, #ff9d92));
  --said: var(--parhelion-said, light-dark(#f1ece3, #252b37));
  --warm: var(--parhelion-warm, light-dark(#fff2df, #2a2216));
  --radius: var(--parhelion-radius, 14px);
  --measure: var(--parhelion-measure, 44rem);
  --font: var(--parhelion-font, ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif);
  --mono: var(--parhelion-mono, ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace);
  display: block;
  block-size: 36rem;
  min-block-size: 18rem;
  container-type: inline-size;
  contain: layout paint style inline-size;
  color: var(--text);
  background: var(--bg);
  font: 400 1rem/1.55 var(--font);
  text-align: start;
  -webkit-text-size-adjust: 100%;
}
:host([hidden]) { display: none; }
*, *::before, *::after { box-sizing: border-box; }
[hidden] { display: none !important; }
h2, h3, p, ul, ol, dl, dd, fieldset, pre { margin: 0; padding: 0; }
ul { list-style: none; }
fieldset { border: 0; min-inline-size: 0; }
h2 { font-size: 1.375rem; line-height: 1.25; font-weight: 620; letter-spacing: -0.012em; text-wrap: balance; }
h3 { font-size: 1rem; font-weight: 620; line-height: 1.35; }
.muted { color: var(--muted); }
.mono { font-family: var(--mono); font-size: 0.8125rem; overflow-wrap: anywhere; }
.visually-hidden {
  position: absolute; inline-size: 1px; block-size: 1px; margin: -1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap; border: 0; padding: 0;
}
.glyph {
  inline-size: 1.25rem; block-size: 1.25rem; flex: none;
  fill: none; stroke: currentColor; stroke-width: 1.7; stroke-linecap: round; stroke-linejoin: round;
}
.glyph.stop { fill: currentColor; }
.mark { inline-size: 1.75rem; block-size: 1.75rem; flex: none; overflow: visible; }
.mark .halo { fill: none; stroke: var(--accent); stroke-width: 1.6; opacity: 0.5; }
.mark .sun { fill: var(--accent); }
.mark .dog { fill: var(--accent); opacity: 0.75; }
`;

const FRAME = `
.app { display: flex; flex-direction: column; block-size: 100%; position: relative; }
.bar-top {
  display: flex; align-items: center; gap: 0.25rem; flex: none;
  padding: 0.375rem max(0.75rem, env(safe-area-inset-right)) 0.375rem max(0.75rem, env(safe-area-inset-left));
  border-block-end: 1px solid var(--border);
}
.brand { display: flex; align-items: center; gap: 0.625rem; min-inline-size: 0; margin-inline-end: auto; font-weight: 620; }
.brand-name { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.body { flex: 1; min-block-size: 0; display: flex; flex-direction: column; }
.scroll { flex: 1; min-block-size: 0; overflow-y: auto; overscroll-behavior: contain; position: relative; }
.scroll:focus-visible { outline-offset: -3px; }
.column { inline-size: 100%; max-inline-size: var(--measure); margin-inline: auto; padding: 1.5rem 1rem; }
.row { display: flex; flex-wrap: wrap; align-items: center; gap: 0.5rem 0.625rem; }
.row.grow { flex-wrap: nowrap; }
.row.grow .input { flex: 1; min-inline-size: 0; }
.drop {
  position: absolute; inset: 0.5rem; z-index: 2; display: grid; place-items: center; pointer-events: none;
  border: 2px dashed var(--accent); border-radius: var(--radius); background: color-mix(in srgb, var(--bg) 88%, transparent);
  font-weight: 620; font-size: 1.125rem;
}
`;

const CONTROLS = `
.button {
  display: inline-flex; align-items: center; justify-content: center; gap: 0.5rem; flex: none;
  min-block-size: 2.75rem; min-inline-size: 2.75rem; padding: 0.375rem 1rem;
  font: inherit; font-weight: 560; color: inherit; text-align: start; cursor: pointer; touch-action: manipulation;
  background: var(--surface); border: 1px solid var(--border); border-radius: calc(var(--radius) * 0.72);
  transition: background-color 120ms, border-color 120ms, opacity 120ms;
}
.button:hover { background: var(--sunken); }
.button:disabled { opacity: 0.45; cursor: default; }
.button.primary { background: var(--accent); border-color: var(--accent); color: var(--on-accent); }
.button.primary:hover:not(:disabled), .button.send:hover:not(:disabled) { background: color-mix(in srgb, var(--accent) 86%, var(--text)); }
.button.icon { padding: 0; background: none; border-color: transparent; color: var(--muted); inline-size: 2.75rem; }
.button.bar { padding-inline: 0.75rem; background: none; border-color: transparent; color: var(--muted); font-size: 0.9375rem; }
.button.bar:hover, .button.icon:hover { background: var(--sunken); color: var(--text); }
@container (max-width: 40rem) {
  .button.bar { padding: 0; }
  .button.bar .button-text { position: absolute; inline-size: 1px; block-size: 1px; overflow: hidden; clip-path: inset(50%); }
}
.button.danger { color: var(--danger); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.input {
  inline-size: 100%; min-block-size: 2.75rem; padding: 0.5rem 0.75rem; font: inherit; color: inherit;
  background: var(--surface); border: 1px solid var(--control); border-radius: calc(var(--radius) * 0.72);
}
.input::placeholder, .message-input::placeholder { color: var(--muted); opacity: 1; }
.input[aria-invalid="true"] { border-color: var(--danger); }
textarea.input { resize: vertical; }
.toggle {
  appearance: none; flex: none; position: relative; inline-size: 3rem; block-size: 1.75rem; margin: 0; cursor: pointer;
  background: var(--sunken); border: 1px solid var(--control); border-radius: 1rem; transition: background-color 120ms;
}
.toggle::after {
  content: ""; position: absolute; inset-block-start: 3px; inset-inline-start: 3px; inline-size: 1.25rem; block-size: 1.25rem;
  border-radius: 50%; background: var(--control); transition: transform 120ms;
}
.toggle:checked { background: var(--accent); border-color: var(--accent); }
.toggle:checked::after { background: var(--on-accent); transform: translateX(1.25rem); }
details summary { cursor: pointer; min-block-size: 2.75rem; display: flex; align-items: center; color: var(--muted); font-weight: 560; }
details summary::before { content: "›"; margin-inline-end: 0.5rem; transition: transform 120ms; }
details[open] summary::before { transform: rotate(90deg); }
details ul { list-style: disc; padding-inline-start: 1.25rem; display: grid; gap: 0.375rem; }
.notice, .failure { border-radius: var(--radius); padding: 1rem 1.125rem; display: grid; gap: 0.5rem; background: var(--warm); }
.failure { border: 1px solid color-mix(in srgb, var(--danger) 45%, transparent); background: color-mix(in srgb, var(--danger) 7%, var(--surface)); }
.failure-title { display: flex; gap: 0.5rem; align-items: flex-start; }
.failure-title .glyph { margin-block-start: 0.125rem; color: var(--danger); }
.notice .failure-title .glyph { color: var(--accent); }
@media (prefers-reduced-motion: reduce) {
  *, *::before, *::after { animation: none !important; transition: none !important; scroll-behavior: auto !important; }
}
@media (forced-colors: active) {
  .bar-fill, .meter > span { background: Highlight !important; }
  .toggle::after { background: ButtonText; }
}
`;

let sheet: CSSStyleSheet | undefined;

/** The style sheet, made once and shared by every element on the page. Constructed sheets need no inline style. */
export function styleSheet(): CSSStyleSheet {
  if (sheet === undefined) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(THEME + FRAME + CONTROLS + VIEW_STYLES);
  }
  return sheet;
}
