import { JsonMembers } from '../../json-members.ts'
import { askedBetas, betaHeader } from '../anthropic/betas.ts'
import { type AnthropicAdapter, anthropic } from '../anthropic/index.ts'
import { encodeMessage } from '../anthropic/request.ts'
import { type Fields, text } from '../json.ts'
import type { Provider, Target, UpstreamRequest } from '../provider.ts'
import { createModels, methodUrl, VERSION } from './address.ts'

/** The only version of the protocol published for Vertex. */
const ANTHROPIC_VERSION = 'vertex-2023-10-16'
const MODEL = Buffer.from('model')

/** Claude on Vertex: Anthropic's protocol, the model in the address in place of the body, the version in the body in place of a header. */
export function claude(keys: readonly string[]): Required<Pick<Provider, 'chat' | 'prefill'>> {
  const { chat, prefill } = anthropic({ base: null, keys })
  const modelOf = createModels()

  const send = (target: Target, stream: boolean, body: string | Uint8Array, betas: string): UpstreamRequest => {
    const headers: Record<string, string> = { 'content-type': 'application/json' }
    if (betas !== '') headers['anthropic-beta'] = betas
    return {
      method: 'POST',
      url: methodUrl(target, modelOf(target), VERSION, stream ? 'streamRawPredict' : 'rawPredict'),
      headers,
      body,
    }
  }

  const adapter: AnthropicAdapter = {
    ...(chat as AnthropicAdapter),
    encodeRequest(request, target) {
      const { body, betas } = encodeMessage(request, { ...target, model: modelOf(target).id })
      const { model: _, ...rest } = body
      const sent = { anthropic_version: versionOf(request, target), ...rest }
      return send(target, request.stream === true, JSON.stringify(sent), betas)
    },
    wrap: (body, own, target) =>
      send(target, own['stream'] === true, versioned(body, versionOf(own, target)), betaHeader(askedBetas(own, target), [])),
  }
  return { chat: adapter, prefill: prefill as NonNullable<Provider['prefill']> }
}

function versionOf(request: Fields, target: Target): string {
  const configured = text(request['anthropic_version'] ?? target.settings['anthropic_version'])
  return configured.startsWith('vertex-') ? configured : ANTHROPIC_VERSION
}

/** A body of the protocol with the version where its model stands. */
function versioned(body: Uint8Array, version: string): Uint8Array {
  const members = new JsonMembers()
  const model = members.scan(body) ? members.find(MODEL) : -1
  // The body was made with one (pass-through-anthropic.ts).
  if (model < 0) throw new Error('a body of the Messages protocol without a model')
  return Buffer.concat([
    body.subarray(0, members.nameStart(model)),
    Buffer.from(`"anthropic_version":${JSON.stringify(version)}`),
    body.subarray(members.valueEnd(model)),
  ])
}
