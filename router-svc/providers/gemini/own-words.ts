import type { ChatRequest } from '../../canonical/chat.ts'
import { type Fields, isFields } from './wire.ts'

/** Canonical fields that say again, for other providers, what a client of this protocol said in a field of `generationConfig`. */
const GENERATION: Readonly<Record<string, readonly string[]>> = {
  responseMimeType: ['response_format'],
  thinkingConfig: ['reasoning_effort', 'thinking'],
  responseModalities: ['modalities'],
}

/** The same for fields of the body. */
const BODY: Readonly<Record<string, readonly string[]>> = {
  tools: ['tools', 'web_search_options', 'parallel_tool_calls'],
  toolConfig: ['tool_choice'],
}

/**
 * The request of a client of this protocol: its own words stand where other parameters do, and win over what says the same in canonical ones.
 * `tools` go as they came; null = it is no such client's, or gave none.
 */
export function inOwnWords(canonical: ChatRequest): { request: ChatRequest; tools: Fields[] | null } {
  const { gemini: native, ...request } = canonical
  if (!isFields(native)) return { request: canonical, tools: null }
  const config = isFields(native['generationConfig']) ? native['generationConfig'] : {}
  for (const [given, table] of [[config, GENERATION] as const, [native, BODY] as const]) {
    for (const [name, others] of Object.entries(table)) {
      if (given[name] !== undefined) for (const other of others) delete request[other]
    }
  }
  const { tools, ...body } = native
  return { request: { ...(request as ChatRequest), ...body }, tools: Array.isArray(tools) ? (tools as Fields[]) : null }
}
