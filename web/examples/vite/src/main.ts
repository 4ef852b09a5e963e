import { Parhelion, ParhelionError } from "parhelion";
import type { ChatMessage, Progress, Session } from "parhelion";

const find = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;
const status = find("status");
const input = find<HTMLInputElement>("input");
const log = find("log");
const messages: ChatMessage[] = [];

function show({ phase, done, total }: Progress): void {
  status.textContent = total === undefined ? phase : `${phase} ${Math.round((100 * done) / total)}%`;
}

function showError(error: unknown): void {
  status.textContent = error instanceof ParhelionError ? `${error.message} (${error.code})` : String(error);
}

async function ask(session: Session, question: string): Promise<void> {
  messages.push({ role: "user", content: question });
  log.append(`You: ${question}\n`);
  const answer = session.chat(messages, { maxTokens: 200 });
  for await (const token of answer) log.append(token.text);
  log.append("\n");
  const { text, timings } = await answer.result;
  messages.push({ role: "assistant", content: text });
  status.textContent = `${timings.decodeRate.toFixed(1)} tokens a second`;
}

async function main(): Promise<void> {
  // ?model=NAME or ?model=ADDRESS picks another model.
  const model = new URLSearchParams(location.search).get("model") ?? "smollm2-135m-instruct";
  const session = await Parhelion.load(model, { onProgress: show });
  find("stop").addEventListener("click", () => session.abort());
  find("form").addEventListener("submit", (event) => {
    event.preventDefault();
    ask(session, input.value).catch(showError);
    input.value = "";
  });
}

main().catch(showError);
