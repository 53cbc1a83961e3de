/** Which models speak the Responses API and nothing else, and what of it they take. By name: OpenAI publishes no list. */

/** LiteLLM's way to name the protocol in a model: `openai/responses/gpt-5`. */
const PREFIX = 'responses/'

const ONLY_RESPONSES = /^(?:codex-|(?:o\d+-pro|gpt-[5-9][\d.]*-(?:pro|codex)|.*-deep-research|computer-use-preview)(?![a-z]))/
const REASONING = /^(?:o\d|gpt-(?:[5-9]|\d\d)(?!.*-chat)|codex-|computer-use-preview)/

/** The model without the prefix, or null where it has none. */
export function withoutPrefix(model: string): string | null {
  return model.startsWith(PREFIX) && model.length > PREFIX.length ? model.slice(PREFIX.length) : null
}

/** Whether OpenAI serves the model under `/responses` alone. Date suffixes and a maker's prefix (`openai/o1-pro-2025-03-19`) do not matter. */
export function speaksOnlyResponses(model: string): boolean {
  return ONLY_RESPONSES.test(bare(model))
}

/** Whether the model thinks: its reasoning can be had encrypted, and it has no sampling parameters. */
export function reasons(model: string): boolean {
  return REASONING.test(bare(model))
}

function bare(model: string): string {
  return model.slice(model.lastIndexOf('/') + 1)
}
