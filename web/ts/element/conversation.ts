// The conversation: one article a turn, the answer being written growing at most once a frame, and the view following
// it only while the reader is at the end.

import { button, fill, h, icon, setAttribute, setText } from "./dom.js";
import { failureBox } from "./failure-box.js";
import type { Remedy } from "./failures.js";
import { formatCount, formatDuration, formatRate } from "./format.js";
import { MarkdownView } from "./markdown.js";
import type { Chat, Turn } from "./state.js";

/** What the conversation asks of the element it stands in. */
export interface ConversationActions {
  regenerate(): void;
  copy(text: string, from: HTMLButtonElement): void;
  remedy(remedy: Remedy): void;
  /** Puts a suggestion into the composer. */
  suggest(text: string): void;
}

const SUGGESTIONS = [
  "Why is the sky blue?",
  "Write a short poem about the winter sun.",
  "Explain recursion to a child.",
];

/** Distance from the end, in CSS pixels, within which new text keeps the end in view. */
const FOLLOW_WITHIN = 80;

interface TurnView {
  readonly element: HTMLElement;
  readonly body: HTMLElement;
  readonly foot: HTMLElement;
  readonly markdown: MarkdownView | undefined;
  /** What the foot shows, so that it is built again only when that changes. */
  shown: string;
}

/** Draws the turns of a chat. */
export class ConversationView {
  /** The scrolling area. */
  readonly element: HTMLElement;
  readonly #list = h("div", { class: "turns", part: "messages" });
  readonly #empty: HTMLElement;
  readonly #jump: HTMLButtonElement;
  readonly #views = new Map<number, TurnView>();
  readonly #actions: ConversationActions;
  #following = true;
  #frame = 0;

  constructor(actions: ConversationActions) {
    this.#actions = actions;
    this.#empty = this.#buildEmpty();
    this.#jump = button("Jump to the end", { look: "icon", icon: "down", class: "jump", onClick: () => this.follow() });
    this.element = h(
      "div",
      { class: "scroll", attributes: { tabindex: 0, role: "region", "aria-label": "Conversation" } },
      h("div", { class: "column" }, h("h2", { class: "visually-hidden" }, "Conversation"), this.#empty, this.#list),
      this.#jump,
    );
    this.element.addEventListener("scroll", () => this.#scrolled(), { passive: true });
  }

  /** Brings everything up to date with the chat. */
  update(chat: Chat): void {
    this.#empty.hidden = chat.turns.length > 0;
    const ids = new Set(chat.turns.map((turn) => turn.id));
    for (const [id, view] of this.#views) {
      if (ids.has(id)) continue;
      view.element.remove();
      this.#views.delete(id);
    }
    for (const turn of chat.turns) this.#updateTurn(turn, chat);
    this.#keepEnd();
  }

  /** Shows the new text of an answer with the next frame. */
  wrote(turn: Turn, chat: Chat): void {
    if (this.#frame !== 0) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.#updateTurn(turn, chat);
      this.#keepEnd();
    });
  }

  /** Goes to the end and stays there. */
  follow(): void {
    this.#following = true;
    this.#keepEnd();
  }

  #updateTurn(turn: Turn, chat: Chat): void {
    if (!chat.turns.includes(turn)) return;
    const view = this.#views.get(turn.id) ?? this.#buildTurn(turn);
    if (view.markdown === undefined) setText(view.body, turn.content);
    else view.markdown.update(turn.content);
    setAttribute(view.element, "aria-busy", turn.state === "writing");
    view.element.classList.toggle("writing", turn.state === "writing");
    const last = chat.turns.at(-1) === turn;
    const key = [turn.state, last, chat.ready, chat.recovering, turn.state === "writing" ? footText(turn) : ""].join();
    if (turn.role === "assistant" && view.shown !== key) {
      view.shown = key;
      this.#fillFoot(view.foot, turn, last, chat);
    }
  }

  #buildTurn(turn: Turn): TurnView {
    const own = turn.role === "user";
    const body = h("div", { class: own ? "said" : "answer", part: own ? "user-message" : "answer" });
    const foot = h("div", { class: "foot" });
    const name = own ? "You" : "Answer";
    const element = h(
      "article",
      { class: `turn ${turn.role}`, attributes: { "aria-label": name } },
      h("h3", { class: "visually-hidden" }, name),
      body,
      foot,
    );
    const markdown = own ? undefined : new MarkdownView(body, (text, from) => this.#actions.copy(text, from));
    const view: TurnView = { element, body, foot, markdown, shown: "" };
    this.#views.set(turn.id, view);
    this.#list.append(element);
    return view;
  }

  #fillFoot(foot: HTMLElement, turn: Turn, last: boolean, chat: Chat): void {
    if (turn.state === "writing") {
      const text = chat.recovering
        ? "The graphics device was lost. Loading the model again; the answer then goes on."
        : footText(turn);
      const waiting = turn.content === "" || chat.recovering;
      fill(foot, waiting && h("span", { class: "pulse" }), h("span", { class: "stats" }, text));
      return;
    }
    const copy = button("Copy answer", {
      look: "icon",
      icon: "copy",
      onClick: (event) => this.#actions.copy(turn.content, event.currentTarget as HTMLButtonElement),
    });
    const again = button("Regenerate answer", {
      look: "icon",
      icon: "redo",
      onClick: () => this.#actions.regenerate(),
    });
    again.disabled = !chat.ready;
    const failure =
      turn.failure && failureBox(turn.failure, chat.model, last ? (remedy) => this.#actions.remedy(remedy) : undefined);
    fill(
      foot,
      failure,
      h(
        "div",
        { class: "foot-row" },
        turn.content !== "" && copy,
        last && again,
        h("span", { class: "stats" }, footText(turn)),
      ),
    );
  }

  #buildEmpty(): HTMLElement {
    const suggestions = SUGGESTIONS.map((text) =>
      h("li", {}, button(text, { class: "suggestion", onClick: () => this.#actions.suggest(text) })),
    );
    return h(
      "div",
      { class: "empty" },
      h("h2", {}, "Ask anything"),
      h("p", { class: "muted" }, icon("lock"), "The model runs on this device. Nothing you write leaves it."),
      h("ul", { class: "suggestions", attributes: { "aria-label": "Suggestions" } }, ...suggestions),
    );
  }

  #scrolled(): void {
    const { scrollHeight, scrollTop, clientHeight } = this.element;
    this.#following = scrollHeight - scrollTop - clientHeight < FOLLOW_WITHIN;
    this.#jump.classList.toggle("shown", !this.#following);
  }

  #keepEnd(): void {
    if (this.#following) this.element.scrollTop = this.element.scrollHeight;
    this.#scrolled();
  }
}

function footText(turn: Turn): string {
  if (turn.state === "writing") {
    if (turn.firstTokenAt === undefined) return "Reading the conversation…";
    const seconds = (performance.now() - turn.firstTokenAt) / 1000;
    return seconds < 0.5 ? "" : formatRate((turn.tokens - 1) / seconds);
  }
  const parts: string[] = [];
  if (turn.timings !== undefined) {
    const { decodeRate, generatedTokens, totalMs } = turn.timings;
    parts.push(formatRate(decodeRate), `${formatCount(generatedTokens)} tokens`, formatDuration(totalMs / 1000));
  }
  if (turn.state === "stopped") parts.push("stopped");
  if (turn.state === "cut") parts.push("cut at the length limit");
  return parts.filter((part) => part !== "").join(" · ");
}
