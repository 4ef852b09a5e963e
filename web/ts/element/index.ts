/**
 * Registers `<parhelion-chat>`. One tag and one module script are a working chat:
 *
 * ```html
 * <script type="module" src="parhelion/element/index.js"></script>
 * <parhelion-chat model="smollm2-135m-instruct"></parhelion-chat>
 * ```
 *
 * @packageDocumentation
 */
import { ParhelionChatElement } from "./chat-element.js";

export { ParhelionChatElement };
export type { Settings } from "./settings.js";

/** The name of the tag. */
export const TAG_NAME = "parhelion-chat";

if (customElements.get(TAG_NAME) === undefined) customElements.define(TAG_NAME, ParhelionChatElement);

declare global {
  interface HTMLElementTagNameMap {
    "parhelion-chat": ParhelionChatElement;
  }
}
