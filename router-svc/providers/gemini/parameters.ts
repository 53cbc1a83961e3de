import { entryOf } from '../../../shared/entry.ts'
import type { ChatRequest } from '../../canonical/chat.ts'
import { dropNamed, isAllowed } from '../openai/parameters.ts'
import type { Target } from '../provider.ts'
import { isForGateway, type Refusals, withoutCounterpart } from '../refusals.ts'
import { type Fields, isFields } from './wire.ts'

/** OpenAI parameters without a counterpart, and the values that ask for nothing. */
const UNSUPPORTED = withoutCounterpart('logit_bias', 'prediction', 'verbosity', 'functions', 'function_call')

/** Translated by name in request.ts and its neighbours. */
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
  'n',
  'stop',
  'seed',
  'presence_penalty',
  'frequency_penalty',
  'logprobs',
  'top_logprobs',
  'tools',
  'tool_choice',
  'parallel_tool_calls',
  'response_format',
  'reasoning_effort',
  'thinking',
  'modalities',
  'audio',
  'web_search_options',
  'service_tier',
])

/** Hints to other vendors' machinery; an answer is the same without them. */
const HINTS = new Set([
  'user',
  'store',
  'safety_identifier',
  'prompt_cache_key',
  'prompt_cache_retention',
  'prompt_cache_options',
  'moderation',
  'cache_control_injection_points',
])

/** Fields of `generationConfig` that a client of another protocol may give at the top. */
const GENERATION = new Set([
  'candidateCount',
  'maxOutputTokens',
  'stopSequences',
  'topK',
  'topP',
  'responseMimeType',
  'responseSchema',
  'responseJsonSchema',
  'responseLogprobs',
  'responseModalities',
  'mediaResolution',
  'speechConfig',
  'imageConfig',
  'thinkingConfig',
  'enableEnhancedCivicAnswers',
])

export interface Screened {
  /** The request without dropped parameters. */
  request: ChatRequest
  /** Gemini's own parameters in the spelling of the wire: fields of `generationConfig`, and of the body. */
  generation: Fields
  rest: Fields
}

/** Sorts the parameters. A null means absent. Gemini's own may be given in snake case, as its Python clients write them. */
export function screen(canonical: ChatRequest, target: Target, refusals: Refusals): Screened {
  const given: Fields = { ...canonical }
  dropNamed(given, canonical, target)
  const request: ChatRequest = { model: canonical.model, messages: canonical.messages }
  const generation: Fields = {}
  const rest: Fields = {}
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined || name === '__proto__') continue
    const asksNothing = entryOf(UNSUPPORTED, name)
    const camel = camelCase(name)
    if (TRANSLATED.has(name)) request[name] = value
    else if (asksNothing !== undefined) {
      if (isAllowed(name, canonical, target)) rest[name] = value
      else if (!asksNothing(value)) refusals.refuse(name)
    } else if (isForGateway(name, value, HINTS) && !target.allowedOpenaiParams.includes(name)) continue
    else if (camel === 'generationConfig' && isFields(value)) Object.assign(generation, camelKeys(value))
    else if (GENERATION.has(camel)) generation[camel] = value
    else rest[camel] = value
  }
  return { request, generation, rest }
}

/** Google's own parameters may be given in snake case, as its Python clients write them. */
export function camelKeys(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [camelCase(name), value]))
}

export function camelCase(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
}
