import type { Mode } from '../../proto/endpoints.ts'
import { MEDIA } from '../../shared/catalog/media.ts'
import type { ProviderRow } from '../../shared/catalog/providers.ts'
import { entryOf } from '../../shared/entry.ts'
import type { ChatChunk } from '../canonical/chat.ts'
import { type Address, foundryAddress, openaiAddress } from './azure/url.ts'
import { isFields } from './json.ts'
import { mediaAdapters } from './openai/media.ts'
import { type ParameterRule, parameterRule, refuseUnsupported } from './openai/parameters.ts'
import { OPENAI_PATHS, type RequestEncoder } from './openai/request.ts'
import { type OpenAIAdapter, openai } from './openai.ts'
import type { Adapter, Provider, StreamDecoder, Target } from './provider.ts'
import { azureSpeech } from './sound/azure-speech.ts'

type AddressOf = (target: Target, route: string) => Address
type Fields = Record<string, unknown>

/** Azure OpenAI and Foundry: OpenAI's protocol under Azure's addresses, credentials, and dates of what is understood. */
export function azure(name: string, row: ProviderRow): Provider {
  const addressOf = row.protocol === 'azure-ai' ? foundryAddress : openaiAddress
  const spoken = azureSpeech(name, row)
  const { chat, completion: given, embedding, ...rest } = openai(name, { ...row, protocol: 'openai' })
  // Without an endpoint of its own it goes through chat, which the list of providers sees to.
  const completion = row.modes?.includes('completion') ? given : undefined
  return {
    ...rest,
    auth: { type: 'made', kind: 'azure' },
    ...(row.versions === undefined ? {} : { versionNames: row.versions }),
    ...(chat === undefined ? {} : { chat: withVerdicts(addressed(chat, addressOf)) }),
    ...(completion === undefined ? {} : { completion: addressed(completion, addressOf) }),
    ...(embedding === undefined ? {} : { embedding: addressed(embedding, addressOf) }),
    ...mediaAdapters(row, entryOf(MEDIA, name), rest.decodeError, (mode, encoder) => addressedEncoder(mode, encoder, addressOf)),
    serve: (model) => ({ provider: model.startsWith('speech/') ? spoken : null, model }),
  }
}

/** The same adapter, its requests sent elsewhere. */
function addressed<Request, Response, Chunk>(
  adapter: Adapter<Request, Response, Chunk>,
  addressOf: AddressOf,
): Adapter<Request, Response, Chunk> {
  const encoder = addressedEncoder(adapter.mode, (adapter as OpenAIAdapter<Request, Response, Chunk>).encoder, addressOf)
  const made: OpenAIAdapter<Request, Response, Chunk> = {
    ...adapter,
    encoder,
    encodeRequest: (request, target) => encoder.encode(request as Readonly<Fields>, target),
  }
  return made
}

function addressedEncoder(mode: Mode, plain: RequestEncoder, addressOf: AddressOf): RequestEncoder {
  // A route's target is one object for as long as the configuration holds.
  const addresses = new WeakMap<Target, Address>()
  const addressFor = (target: Target): Address => {
    let address = addresses.get(target)
    if (address === undefined) {
      address = addressOf(target, OPENAI_PATHS[mode])
      addresses.set(target, address)
    }
    return address
  }
  const shape: RequestEncoder['shape'] = (request, target) => {
    const body = plain.shape(request, target)
    const { dated } = addressFor(target)
    if (dated !== null && (mode === 'chat' || mode === 'completion')) fitDate(body, request, target, dated)
    return body
  }
  const wrap: RequestEncoder['wrap'] = (target, body) => ({ ...plain.wrap(target, body), url: addressFor(target).url })
  return { shape, wrap, encode: (request, target) => wrap(target, JSON.stringify(shape(request, target))) }
}

/** Before these dates Azure OpenAI refuses what it does not know yet. */
const FLOORS: readonly { since: string; rules: readonly ParameterRule[] }[] = [
  { since: '2023-12-01', rules: ['tools', 'tool_choice'].map(parameterRule) },
  { since: '2024-06-01', rules: [parameterRule('tool_choice=required')] },
  { since: '2024-08-01', rules: [parameterRule('response_format.json_schema')] },
]
/** We ask every stream for its usage ourselves, so that it is left out without a word. */
const STREAM_OPTIONS_SINCE = '2024-09-01'

function fitDate(body: Fields, request: Readonly<Fields>, target: Target, version: string): void {
  // Anything but a date is Azure's to judge; dates compare as text.
  if (!/^\d{4}-\d{2}-\d{2}/.test(version)) return
  const date = version.slice(0, 10)
  if (date < STREAM_OPTIONS_SINCE) delete body['stream_options']
  for (const { since, rules } of FLOORS) if (date < since) refuseUnsupported(body, rules, request, target)
}

/**
 * Azure's first event has no choice, only what its filter thought of the prompt (`prompt_filter_results`): it goes with the next one, for
 * an event without choices is more than some clients can read.
 */
function withVerdicts<Request, Response>(adapter: Adapter<Request, Response, ChatChunk>): Adapter<Request, Response, ChatChunk> {
  const { decodeStream } = adapter
  if (decodeStream === undefined) return adapter
  return {
    ...adapter,
    decodeStream(context) {
      const inner = decodeStream(context)
      let verdict: unknown
      const decoder: StreamDecoder<ChatChunk> = {
        get done() {
          return inner.done
        },
        push(event) {
          const chunks = inner.push(event)
          if (chunks.length === 0) verdict ??= verdictIn(event.data)
          const [first] = chunks
          if (first === undefined || verdict === undefined) return chunks
          Object.assign(first, { prompt_filter_results: verdict })
          verdict = undefined
          return chunks
        },
        end: () => inner.end(),
      }
      return decoder
    },
  }
}

function verdictIn(data: string): unknown {
  if (!data.includes('"prompt_filter_results"')) return undefined
  const fields: unknown = JSON.parse(data)
  return isFields(fields) ? fields['prompt_filter_results'] : undefined
}
