// How the views look: choosing, loading, the conversation, the composer, the dialogs.

const WELCOME = `
.welcome { display: grid; gap: 1.25rem; padding-block: clamp(1.5rem, 6cqi, 3.5rem) 2rem; }
.mark.large { inline-size: 4rem; block-size: 4rem; margin-inline-start: 0.25rem; }
.display { font-size: clamp(1.625rem, 5cqi, 2.25rem); line-height: 1.15; letter-spacing: -0.022em; }
.lead { font-size: 1.0625rem; color: var(--muted); max-inline-size: 38rem; text-wrap: pretty; }
.choices { display: grid; gap: 0.75rem; }
.choice {
  display: flex; flex-wrap: wrap; align-items: center; gap: 0.75rem 1rem; padding: 1rem 1.125rem;
  background: var(--surface); border: 1px solid var(--border); border-radius: var(--radius);
}
.choice-text { flex: 1 1 15rem; min-inline-size: 0; display: grid; gap: 0.125rem; }
.choice h3 { font-size: 1.0625rem; overflow-wrap: anywhere; }
.facts { font-size: 0.875rem; color: var(--muted); font-variant-numeric: tabular-nums; margin-block-start: 0.25rem; }
.badge {
  display: inline-block; margin-inline-end: 0.5rem; padding: 0 0.5rem; border-radius: 1rem; font-weight: 560;
  color: var(--accent); background: var(--warm);
}
.other { display: grid; gap: 0.75rem; padding-block-start: 0.5rem; }
.address-form { display: grid; gap: 0.375rem; }
.address-form label { font-size: 0.875rem; color: var(--muted); }
.field-problem { color: var(--danger); font-size: 0.875rem; }
.field-problem:empty { display: none; }
.device-line { font-size: 0.875rem; }
.device-line:empty { display: none; }
@container (max-width: 30rem) {
  .choice > .button { flex: 1; }
  .drop-hint { display: none; }
}
`;

const LOADING = `
.loading { display: grid; gap: 1.25rem; padding-block: clamp(2rem, 10cqi, 5rem) 2rem; max-inline-size: 34rem; }
.loading > div { display: grid; gap: 0.75rem; }
.steps { list-style: none; display: flex; flex-wrap: wrap; gap: 0.25rem 1rem; font-size: 0.875rem; color: var(--muted); }
.steps li { display: flex; align-items: center; gap: 0.4rem; }
.steps li::before { content: ""; inline-size: 0.5rem; block-size: 0.5rem; border-radius: 50%; border: 1.5px solid var(--control); }
.steps .now { color: var(--text); font-weight: 560; }
.steps .now::before, .steps .past::before { background: var(--accent); border-color: var(--accent); }
.phase { font-weight: 560; margin-block-start: 0.5rem; }
.bar { block-size: 0.5rem; border-radius: 1rem; background: var(--sunken); border: 1px solid var(--border); overflow: hidden; }
.bar-fill { block-size: 100%; background: var(--accent); transform: scaleX(0); transform-origin: left; border-radius: inherit; }
.bar.unknown .bar-fill { inline-size: 35%; transform: none; animation: sweep 1.6s ease-in-out infinite alternate; }
.numbers { font-variant-numeric: tabular-nums; min-block-size: 1.55em; }
@keyframes sweep { to { translate: 186% 0; } }
`;

const CONVERSATION = `
.turns { display: grid; gap: 1.5rem; }
.turn { min-inline-size: 0; }
.turn.user { display: flex; justify-content: flex-end; }
.said {
  max-inline-size: 85%; padding: 0.625rem 1rem; background: var(--said); border-radius: 1.25rem 1.25rem 0.375rem 1.25rem;
  white-space: pre-wrap; overflow-wrap: anywhere;
}
.answer { display: grid; gap: 0.75rem; line-height: 1.65; overflow-wrap: anywhere; }
.answer > * { min-inline-size: 0; }
.answer p { white-space: pre-line; }
.answer ul, .answer ol { padding-inline-start: 1.5rem; display: grid; gap: 0.25rem; }
.answer ul { list-style: disc; }
.answer li > ul, .answer li > ol { margin-block-start: 0.25rem; }
.answer-heading { font-weight: 620; font-size: 1.0625rem; }
.answer code { font-family: var(--mono); font-size: 0.875em; }
.answer :not(pre) > code { padding: 0.1em 0.35em; border-radius: 0.3em; background: var(--sunken); }
.code { border: 1px solid var(--border); border-radius: calc(var(--radius) * 0.8); overflow: hidden; background: var(--surface); }
.code-head { display: flex; align-items: center; justify-content: space-between; padding-inline-start: 1rem; font-size: 0.8125rem; color: var(--muted); border-block-end: 1px solid var(--border); }
.code pre { overflow-x: auto; padding: 0.875rem 1rem; line-height: 1.5; }
.code pre:focus-visible { outline-offset: -3px; }
.foot { display: flex; flex-wrap: wrap; align-items: center; gap: 0.25rem 0.5rem; min-block-size: 2.75rem; margin-block-start: 0.25rem; }
.turn.user .foot { display: none; }
.foot .failure { flex: 1 1 100%; }
.foot-row { display: flex; align-items: center; flex-wrap: wrap; }
.foot-row .button { margin-inline-end: 0.25rem; }
.foot-row .button:first-child { margin-inline-start: -0.75rem; }
.stats { font-size: 0.8125rem; color: var(--muted); font-variant-numeric: tabular-nums; }
.pulse { inline-size: 0.625rem; block-size: 0.625rem; border-radius: 50%; background: var(--accent); animation: pulse 1.1s ease-in-out infinite alternate; }
@keyframes pulse { from { opacity: 0.25; transform: scale(0.8); } }
.empty { display: grid; gap: 0.75rem; padding-block: clamp(1rem, 8cqi, 4rem); }
.empty h2 { font-size: 1.625rem; }
.empty .muted { display: flex; gap: 0.5rem; align-items: flex-start; }
.empty .muted .glyph { margin-block-start: 0.15rem; }
.suggestions { display: flex; flex-wrap: wrap; gap: 0.5rem; margin-block-start: 0.75rem; }
.button.suggestion { font-weight: 400; border-radius: 1.5rem; white-space: normal; flex: 0 1 auto; }
.button.icon.jump {
  position: sticky; inset-block-end: 0.75rem; inset-inline-start: calc(50% - 1.375rem); display: flex; margin-block-start: -2.75rem;
  color: var(--text); background: var(--surface); border-color: var(--border); border-radius: 50%;
  visibility: hidden; opacity: 0;
}
.button.icon.jump.shown { visibility: visible; opacity: 1; }
`;

const COMPOSER = `
.composer {
  flex: none; inline-size: 100%; max-inline-size: calc(var(--measure) + 2rem); margin-inline: auto;
  padding: 0.25rem max(1rem, env(safe-area-inset-right)) max(0.5rem, env(safe-area-inset-bottom)) max(1rem, env(safe-area-inset-left));
}
.compose-box {
  display: flex; align-items: flex-end; gap: 0.375rem; padding: 0.375rem;
  background: var(--surface); border: 1px solid var(--control); border-radius: 1.75rem;
}
.compose-box:focus-within { border-color: var(--accent); box-shadow: 0 0 0 2px var(--accent); }
.message-input {
  flex: 1; min-inline-size: 0; min-block-size: 2.75rem; max-block-size: 12rem; padding: 0.625rem 0.875rem; field-sizing: content;
  font: inherit; color: inherit; background: none; border: 0; resize: none; outline: none;
}
.button.send { inline-size: 2.75rem; block-size: 2.75rem; padding: 0; border-radius: 50%; background: var(--accent); border-color: var(--accent); color: var(--on-accent); }
.button.send:disabled { background: var(--sunken); border-color: var(--border); color: var(--muted); opacity: 1; }
.status-line {
  display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 1rem; padding: 0.375rem 0.5rem 0; min-block-size: 1.625rem;
  font-size: 0.8125rem; color: var(--muted); font-variant-numeric: tabular-nums;
}
.context-part { display: flex; align-items: center; gap: 0.5rem; }
.meter { inline-size: 3rem; block-size: 0.3125rem; border-radius: 1rem; background: var(--border); overflow: hidden; }
.meter > span { display: block; block-size: 100%; background: var(--control); transform: scaleX(0); transform-origin: left; }
.meter[data-full] > span { background: var(--danger); }
.device { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; max-inline-size: 20rem; }
@container (max-width: 30rem) {
  .device { display: none; }
}
`;

const DIALOG = `
.dialog {
  inline-size: min(36rem, calc(100vw - 1.5rem)); max-block-size: min(46rem, calc(100dvh - 1.5rem)); padding: 0; overflow: hidden;
  color: var(--text); background: var(--bg); border: 1px solid var(--border); border-radius: calc(var(--radius) * 1.3);
  font: 400 1rem/1.5 var(--font);
}
.dialog[open] { display: flex; flex-direction: column; }
.dialog::backdrop { background: rgb(10 12 16 / 0.5); }
.dialog-head { display: flex; align-items: center; justify-content: space-between; padding: 0.5rem 0.5rem 0.5rem 1.25rem; border-block-end: 1px solid var(--border); }
.dialog-head h2 { font-size: 1.125rem; }
.dialog-body { overflow-y: auto; padding: 1.25rem; display: grid; gap: 1.75rem; overscroll-behavior: contain; }
.group { display: grid; gap: 0.875rem; min-inline-size: 0; }
.group > legend, .group > h3 { padding: 0; font-weight: 620; color: var(--accent); font-size: 0.875rem; letter-spacing: 0.01em; }
.group > legend { margin-block-end: 0.75rem; }
.field { display: grid; grid-template-columns: 1fr 9rem; gap: 0.125rem 1rem; align-items: center; }
.field label { font-weight: 560; }
.field .hint, .field .field-problem { grid-column: 1; font-size: 0.875rem; color: var(--muted); }
.field .field-problem { color: var(--danger); }
.field.number .input, .field.choice .input { grid-column: 2; grid-row: 1 / span 2; }
.field.switch { grid-template-columns: 1fr auto; }
.field.switch .toggle { grid-column: 2; grid-row: 1 / span 2; }
.field.text { grid-template-columns: 1fr; }
.stored { display: grid; gap: 0.25rem; }
.stored li { display: flex; align-items: center; gap: 0.5rem; padding-block: 0.375rem; border-block-end: 1px solid var(--border); }
.file-name { overflow-wrap: anywhere; font-weight: 560; }
.stored .muted { font-size: 0.875rem; }
.fact-list { display: grid; gap: 0.5rem; }
.fact-list > div { display: grid; grid-template-columns: 9rem 1fr; gap: 0 1rem; }
.fact-list dt { color: var(--muted); }
.fact-list dd { overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
@media (max-width: 30rem) {
  .field.number, .field.choice { grid-template-columns: 1fr 7.5rem; }
  .fact-list > div { grid-template-columns: 1fr; }
}
`;

/** The rules of all views. */
export const VIEW_STYLES = WELCOME + LOADING + CONVERSATION + COMPOSER + DIALOG;
