import { entryOf } from '../../../shared/entry.ts'
import type { ChatRequest } from '../../canonical/chat.ts'
import { type Fields, isFields } from '../json.ts'
import { dropNamed, isAllowed } from '../openai/parameters.ts'
import type { Target } from '../provider.ts'
import { isForGateway, type Refusals, withoutCounterpart } from '../refusals.ts'

/** What chat has and this protocol has not, and the values that ask for nothing. */
const UNSUPPORTED: Readonly<Record<string, (value: unknown) => boolean>> = {
  ...withoutCounterpart(
    'n',
    'seed',
    'frequency_penalty',
    'presence_penalty',
    'logit_bias',
    'modalities',
    'audio',
    'prediction',
    'functions',
    'function_call',
  ),
  stop: (value) => value === '' || (Array.isArray(value) && value.length === 0),
  // An answer fetched later is no answer to a chat.
  background: (value) => value === false,
}

/** Said in other words by request.ts. */
const TRANSLATED = new Set([
  'model',
  'messages',
  'stream',
  'stream_options',
  'max_tokens',
  'max_completion_tokens',
  'tools',
  'tool_choice',
  'web_search_options',
  'response_format',
  'verbosity',
  'text',
  'reasoning_effort',
  'reasoning',
  'logprobs',
  'include',
  'store',
  'input',
  'instructions',
])

export interface Screened {
  /** What is to be translated, without dropped parameters. */
  request: ChatRequest
  /** What both protocols call the same, this protocol's own, and what the operator allowed. */
  rest: Fields
}

/** Sorts the parameters; `extra_body` is unpacked among them. A null means absent. */
export function screen(canonical: ChatRequest, target: Target, refusals: Refusals): Screened {
  const { responses, ...chat } = canonical
  const given: Fields = { ...ownWords(responses), ...chat, ...(isFields(canonical['extra_body']) ? canonical['extra_body'] : {}) }
  dropNamed(given, canonical, target)
  const request: ChatRequest = { model: canonical.model, messages: canonical.messages }
  const rest: Fields = {}
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined || name === '__proto__') continue
    const asksNothing = entryOf(UNSUPPORTED, name)
    if (TRANSLATED.has(name)) request[name] = value
    else if (asksNothing !== undefined) {
      if (isAllowed(name, canonical, target)) rest[name] = value
      else if (!asksNothing(value)) refusals.refuse(name)
    } else if (!isForGateway(name, value, NO_HINTS)) rest[name] = value
  }
  return { request, rest }
}

/** What a client of this protocol may say that its chat has no place for. */
const OWN = ['reasoning', 'include', 'truncation', 'max_tool_calls', 'context_management', 'prompt_cache_options'] as const

/**
 * Of the request that such a client sent, which stands in `responses.body` beside its chat. Never in place of what limits and guardrails have
 * seen: input, tools, the output limit.
 */
function ownWords(responses: unknown): Fields {
  const body = isFields(responses) ? responses['body'] : undefined
  const own: Fields = {}
  if (isFields(body)) for (const name of OWN) if (body[name] !== undefined) own[name] = body[name]
  return own
}

const NO_HINTS: ReadonlySet<string> = new Set()
