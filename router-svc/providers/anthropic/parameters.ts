import { entryOf } from '../../../shared/entry.ts'
import type { ChatRequest } from '../../canonical/chat.ts'
import { dropNamed, isAllowed } from '../openai/parameters.ts'
import type { Target } from '../provider.ts'
import { isForGateway, type Refusals, withoutCounterpart } from '../refusals.ts'
import { type Fields, isFields } from './wire.ts'

/** OpenAI parameters without a counterpart, and the values that ask for nothing. */
const UNSUPPORTED = withoutCounterpart(
  'n',
  'logprobs',
  'top_logprobs',
  'seed',
  'frequency_penalty',
  'presence_penalty',
  'logit_bias',
  'modalities',
  'audio',
  'prediction',
  'verbosity',
  'functions',
  'function_call',
)

/** Translated by name in request.ts. */
const TRANSLATED = new Set([
  'model',
  'messages',
  'stream',
  'stream_options',
  'max_tokens',
  'max_completion_tokens',
  'temperature',
  'top_p',
  'top_k',
  'stop',
  'tools',
  'tool_choice',
  'parallel_tool_calls',
  'response_format',
  'reasoning_effort',
  'thinking',
  'output_config',
  'user',
  'metadata',
  'service_tier',
  'web_search_options',
  'betas',
  'anthropic_beta',
  'anthropic_version',
  'cache_control_injection_points',
])

/** Of those, the ones that are this protocol's own. */
const OWN = new Set(['top_k', 'output_config', 'betas', 'anthropic_beta', 'anthropic_version'])

/** Hints to OpenAI's own machinery; an answer is the same without them. */
const HINTS = new Set([
  'store',
  'safety_identifier',
  'prompt_cache_key',
  'prompt_cache_retention',
  'prompt_cache_options',
  'moderation',
])

export interface Screened {
  /** The request without dropped parameters. */
  request: ChatRequest
  /** What goes into the body under its own name: Anthropic's parameters, new ones, and those the operator allowed. */
  rest: Fields
}

/** Sorts the parameters. A null means absent. */
export function screen(canonical: ChatRequest, target: Target, refusals: Refusals): Screened {
  const given = ownWords(canonical)
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
    } else if (!isForGateway(name, value, HINTS) || target.allowedOpenaiParams.includes(name)) rest[name] = value
  }
  return { request, rest }
}

/**
 * What a client of this protocol said in its own words, in place of what the dialect made of it for other providers. Never in place of what
 * limits and guardrails have seen: messages, tools, the output limit.
 */
function ownWords({ anthropic, ...canonical }: ChatRequest): Fields {
  const given: Fields = { ...canonical }
  if (!isFields(anthropic)) return given
  const config = anthropic['output_config']
  if (isFields(given['thinking']) || isFields(config)) delete given['reasoning_effort']
  if (anthropic['output_format'] !== undefined || isFields(config)) delete given['response_format']
  for (const name in anthropic) if (!TRANSLATED.has(name) || OWN.has(name)) given[name] = anthropic[name]
  return given
}
