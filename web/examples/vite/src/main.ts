import { Parhelion, ParhelionError } from "parhelion";
import type { ChatMessage, Progress } from "parhelion";

const [status, form, input, log] = ["status", "form", "input", "log"].map((id) => document.getElementById(id)!) as [
  HTMLElement,
  HTMLFormElement,
  HTMLInputElement,
  HTMLElement,
];
const messages: ChatMessage[] = [];

function show({ phase, done, total }: Progress): void {
  status.textContent = total === undefined ? phase : `${phase} ${Math.round((100 * done) / total)}%`;
}

async function main(): Promise<void> {
  // ?model=NAME or ?model=ADDRESS picks another model.
  const model = new URLSearchParams(location.search).get("model") ?? "smollm2-135m-instruct";
  const session = await Parhelion.load(model, { onProgress: show });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    messages.push({ role: "user", content: input.value });
    log.append(`You: ${input.value}\n`);
    input.value = "";
    const answer = session.chat(messages, { maxTokens: 200 });
    for await (const token of answer) log.append(token.text);
    log.append("\n");
    const { text, timings } = await answer.result;
    messages.push({ role: "assistant", content: text });
    status.textContent = `${timings.decodeRate.toFixed(1)} tokens a second`;
  });
}

main().catch((error: unknown) => {
  status.textContent = error instanceof ParhelionError ? `${error.message} (${error.code})` : String(error);
});
