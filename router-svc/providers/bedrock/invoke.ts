import { GatewayError } from '../../../shared/errors.ts'
import type { SseEvent } from '../../../shared/http/sse.ts'
import type { Usage } from '../../canonical/chat.ts'
import { EXCEPTION } from '../aws-exception.ts'
import { eventObject } from '../json.ts'
import type { StreamDecoder, Target, UpstreamRequest } from '../provider.ts'
import { decodeError } from './errors.ts'
import { modelUrl } from './url.ts'
import { type Fields, isFields, text } from './wire.ts'

/** InvokeModel: a body in the words of the model's maker, and what is the service's own beside it in headers. */

/** Members of the canonical request that go into headers here. */
const IN_HEADERS = new Set(['guardrailConfig', 'performanceConfig', 'serviceTier', 'service_tier'])
const TIERS = new Set(['priority', 'default', 'flex', 'reserved'])

/** Whether a field of a canonical request is for the service or for whom proves the call, and not for the model. */
export function isForService(name: string): boolean {
  return IN_HEADERS.has(name) || name.startsWith('aws_')
}

export function invokeRequest(body: Fields, request: Fields, target: Target): UpstreamRequest {
  const url = modelUrl(target, request['stream'] === true ? 'invoke-with-response-stream' : 'invoke')
  const headers: Record<string, string> = { 'content-type': 'application/json', ...serviceHeaders(request, target) }
  return { method: 'POST', url, headers, body: JSON.stringify(body) }
}

function serviceHeaders(request: Fields, target: Target): Record<string, string> {
  const headers: Record<string, string> = {}
  const guardrail = request['guardrailConfig'] ?? target.settings['guardrailConfig']
  if (isFields(guardrail)) {
    headers['x-amzn-bedrock-guardrailidentifier'] = text(guardrail['guardrailIdentifier'])
    headers['x-amzn-bedrock-guardrailversion'] = text(guardrail['guardrailVersion'])
    if (text(guardrail['trace']) !== '') headers['x-amzn-bedrock-trace'] = text(guardrail['trace']).toUpperCase()
  }
  const { performanceConfig: performance, serviceTier } = request
  if (isFields(performance)) headers['x-amzn-bedrock-performanceconfig-latency'] = text(performance['latency'])
  const tier = isFields(serviceTier) ? text(serviceTier['type']) : text(request['service_tier'])
  if (TIERS.has(tier)) headers['x-amzn-bedrock-service-tier'] = tier
  return headers
}

/**
 * The frames of InvokeModelWithResponseStream, each holding one event of the maker's own stream in base64, for the decoder of that stream. An
 * exception throws in any state; whether the stream was whole is that decoder's to say.
 */
export class InvokeStream<Chunk> implements StreamDecoder<Chunk> {
  readonly #inner: StreamDecoder<Chunk>
  readonly #eventOf: (data: string) => SseEvent

  constructor(inner: StreamDecoder<Chunk>, eventOf: (data: string) => SseEvent = (data) => ({ event: '', data })) {
    this.#inner = inner
    this.#eventOf = eventOf
  }

  get done(): boolean {
    return this.#inner.done
  }

  get usage(): Usage | null {
    return this.#inner.usage ?? null
  }

  push(event: SseEvent): Chunk[] {
    if (event.event.startsWith(EXCEPTION))
      throw decodeError(200, { 'x-amzn-errortype': event.event.slice(EXCEPTION.length) }, event.data)
    if (event.event !== 'chunk') return []
    const { bytes } = eventObject(event.data)
    if (typeof bytes !== 'string') throw new GatewayError('provider_malformed', 'A chunk of the stream holds no bytes.')
    return this.#inner.push(this.#eventOf(Buffer.from(bytes, 'base64').toString('utf8')))
  }

  end(): Chunk[] {
    return this.#inner.end()
  }
}
