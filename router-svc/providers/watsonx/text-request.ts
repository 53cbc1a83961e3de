import { entryOf } from '../../../shared/entry.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { ChatRequest, Message } from '../../canonical/chat.ts'
import { type Fields, isFields } from '../json.ts'
import { dropNamed } from '../openai/parameters.ts'
import type { Target, UpstreamRequest } from '../provider.ts'
import { createRefusals, isForGateway, withoutCounterpart } from '../refusals.ts'
import { placeOf } from './address.ts'

/** OpenAI's name → the service's. */
const NAMES: Readonly<Record<string, string>> = {
  max_tokens: 'max_new_tokens',
  max_completion_tokens: 'max_new_tokens',
  seed: 'random_seed',
  frequency_penalty: 'repetition_penalty',
  stop: 'stop_sequences',
}

const WITHOUT = {
  ...withoutCounterpart(
    'n',
    'logprobs',
    'top_logprobs',
    'presence_penalty',
    'logit_bias',
    'parallel_tool_calls',
    'modalities',
    'audio',
    'prediction',
    'verbosity',
    'web_search_options',
    'functions',
    'function_call',
  ),
  tools: (value: unknown) => Array.isArray(value) && value.length === 0,
  tool_choice: (value: unknown) => value === 'none' || value === 'auto',
  response_format: (value: unknown) => isFields(value) && value['type'] === 'text',
  reasoning_effort: (value: unknown) => value === 'none',
  thinking: (value: unknown) => isFields(value) && value['type'] === 'disabled',
} satisfies Readonly<Record<string, (value: unknown) => boolean>>

/** For other vendors' machinery: an answer is the same without. */
const HINTS: ReadonlySet<string> = new Set([
  'user',
  'store',
  'service_tier',
  'safety_identifier',
  'prompt_cache_key',
  'prompt_cache_retention',
])
const PLACED = new Set(['model', 'messages', 'stream', 'stream_options', 'project_id', 'space_id', 'parameters', 'moderations'])
/** Whoever gives one of these wants words drawn, which the service does not do unless told to. */
const SAMPLING = ['temperature', 'top_p', 'top_k', 'random_seed']

/** A chat for a model that goes on with text. Throws GatewayError `unsupported_parameter`, or `bad_request` for what is no text. */
export function encodeText(canonical: ChatRequest, target: Target): UpstreamRequest {
  const task = canonical.stream === true ? 'text/generation_stream' : 'text/generation'
  const { url, fields } = placeOf(target, task, canonical)
  const body: Fields = { ...fields, input: promptOf(canonical.messages) }
  const parameters = parametersOf(canonical, target)
  if (Object.keys(parameters).length > 0) body['parameters'] = parameters
  if (isFields(canonical['moderations'])) body['moderations'] = canonical['moderations']
  return { method: 'POST', url, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
}

function parametersOf(canonical: ChatRequest, target: Target): Fields {
  const extra = isFields(canonical['extra_body']) ? canonical['extra_body'] : {}
  const given: Fields = { ...canonical, ...extra }
  dropNamed(given, canonical, target)
  const refusals = createRefusals(canonical, target)
  const parameters: Fields = {}
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined || PLACED.has(name) || isForGateway(name, value, HINTS)) continue
    const asksNothing = entryOf(WITHOUT, name)
    if (asksNothing !== undefined && (asksNothing(value) || !refusals.refuse(name))) continue
    // OpenAI's word for no penalty, which is below the least the service takes.
    if (name === 'frequency_penalty' && value === 0) continue
    const own = entryOf(NAMES, name) ?? name
    parameters[own] ??= name === 'stop' && !Array.isArray(value) ? [value] : value
  }
  refusals.check()
  if (isFields(given['parameters'])) Object.assign(parameters, given['parameters'])
  if (parameters['temperature'] === 0) parameters['decoding_method'] ??= 'greedy'
  else if (SAMPLING.some((name) => parameters[name] !== undefined)) parameters['decoding_method'] ??= 'sample'
  return parameters
}

/** LiteLLM's plain prompt: what was said, with spaces between. */
function promptOf(messages: readonly Message[]): string {
  return messages
    .map(textOf)
    .filter((said) => said !== '')
    .join(' ')
}

function textOf({ content }: Message): string {
  if (!Array.isArray(content)) return content ?? ''
  return content
    .map((part) => {
      if (part.type === 'text' && typeof part['text'] === 'string') return part['text']
      throw new GatewayError(
        'bad_request',
        `litellm.BadRequestError: this model of watsonx.ai reads text alone, no ${part.type}.`,
        {
          param: 'messages',
        },
      )
    })
    .join('')
}
