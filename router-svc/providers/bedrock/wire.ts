/**
 * The Converse API as far as the gateway reads or writes it (bedrock-runtime, 2023-09-30). Blocks are objects of one member that names
 * their kind; kinds this version does not know must survive.
 */

import type { Fields } from '../json.ts'

export { type Fields, isFields, text } from '../json.ts'

export interface Turn {
  role: 'user' | 'assistant'
  content: Fields[]
}

/** Name of the tool that stands in for structured output on models without it; LiteLLM's name, so that logs read alike. */
export const JSON_TOOL = 'json_tool_call'
