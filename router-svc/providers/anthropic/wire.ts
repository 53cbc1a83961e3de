/**
 * The Messages protocol as far as the gateway reads or writes it (API reference, version 2023-06-01). Content blocks are loose:
 * kinds and fields this version does not know must survive.
 */

import { type Fields, isFields } from '../json.ts'

export { type Fields, isFields, text } from '../json.ts'

export interface Block {
  type: string
  [field: string]: unknown
}

export interface Turn {
  role: 'user' | 'assistant' | 'system'
  content: string | Block[]
}

/** The request body; field order is the order on the wire. */
export interface MessagesRequest {
  model: string
  max_tokens: number
  system?: Block[]
  messages: Turn[]
  tools?: Fields[]
  tool_choice?: Fields
  stream?: true
  thinking?: Fields
  output_config?: Fields
  [field: string]: unknown
}

/** Version sent when the deployment names none; the only one ever published besides 2023-01-01. */
export const ANTHROPIC_VERSION = '2023-06-01'

/** Name of the tool that stands in for structured output on models without it; LiteLLM's name, so that logs read alike. */
export const JSON_TOOL = 'json_tool_call'

export function isBlock(value: unknown): value is Block {
  return isFields(value) && typeof value['type'] === 'string'
}
