/**
 * The Converse API as far as the gateway reads or writes it (bedrock-runtime, 2023-09-30). Blocks are objects of one member that names
 * their kind; kinds this version does not know must survive.
 */

/** A plain JSON object. */
export type Fields = Record<string, unknown>

export interface Turn {
  role: 'user' | 'assistant'
  content: Fields[]
}

/** Name of the tool that stands in for structured output on models without it; LiteLLM's name, so that logs read alike. */
export const JSON_TOOL = 'json_tool_call'

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The value when it is a string, else `otherwise`. */
export function text(value: unknown, otherwise = ''): string {
  return typeof value === 'string' ? value : otherwise
}
