import { type ProviderRow, providerRow } from '../../../shared/catalog/providers.ts'
import { type OpenAIAdapter, openai } from '../openai.ts'
import type { Adapter, Provider, Target } from '../provider.ts'
import { createModels, methodUrl, modelUrl, VERSION, versioned } from './address.ts'

/** Models that speak OpenAI's protocol: those Google serves (`endpoints/openapi`), those an operator deployed, those of partners. */
type Open = Pick<Provider, 'chat' | 'embedding'>

/** What Google's servers of open models (vLLM and the like) are known to do otherwise. */
const ROW = {
  protocol: 'openai',
  base: null,
  keys: [],
  modes: ['chat', 'embedding'],
  stripNullFields: true,
  plainToolSchemas: true,
  deviates: ['reasoning', 'tool_calls'],
} as const satisfies ProviderRow

/** Models as a service: one address, the model in the body with its publisher. */
export function openModels(name: string): Open {
  const modelOf = createModels()
  return placed(openai(name, ROW), (target) => ({
    ...target,
    base: `${versioned(target, VERSION)}/endpoints/openapi`,
    model: modelOf(target).id,
  }))
}

/** A model deployed from the garden: its own endpoint, which serves nothing else, so that no model is named. */
export function deployedModels(name: string): Open {
  const modelOf = createModels()
  return placed(openai(name, ROW), (target) => ({ ...target, base: modelUrl(target, modelOf(target), VERSION), model: '' }))
}

/** Partners' models, with what each partner's own service is known to want. */
export function partnerModels(name: string, publisher: 'mistralai' | 'ai21'): Pick<Provider, 'chat'> {
  const row = providerRow(publisher === 'ai21' ? 'ai21' : 'mistral')
  if (row === undefined) throw new Error(`no row for the models of ${publisher}`)
  const { prefillPath: _, prefill: __, version: ___, ...shared } = row
  const { chat } = openai(name, { ...shared, modes: ['chat'] })
  if (chat === undefined) throw new Error(`no chat of ${publisher}`)
  const modelOf = createModels()
  return {
    // Without the protocol and the encoder that bytes pass by: where a request goes depends on whether it streams.
    chat: {
      mode: chat.mode,
      decodeResponse: chat.decodeResponse,
      ...(chat.decodeStream === undefined ? {} : { decodeStream: chat.decodeStream }),
      encodeRequest(request, target) {
        const model = modelOf(target)
        // The date of a version is part of the address alone.
        const named = model.id.replace(/@.*$/, '')
        const method = request.stream === true ? 'streamRawPredict' : 'rawPredict'
        return {
          ...chat.encodeRequest(request, { ...target, model: named }),
          url: methodUrl(target, model, VERSION, method),
        }
      },
    },
  }
}

/** The same adapters, their requests made for another target. */
function placed({ chat, embedding }: Provider, place: (target: Target) => Target): Open {
  const places = new WeakMap<Target, Target>()
  const placeOf = (target: Target): Target => {
    let found = places.get(target)
    if (found === undefined) {
      found = place(target)
      places.set(target, found)
    }
    return found
  }
  const moved = <Request, Response, Chunk>(adapter: Adapter<Request, Response, Chunk>): Adapter<Request, Response, Chunk> => {
    const { encoder } = adapter as OpenAIAdapter<Request, Response, Chunk>
    const made: OpenAIAdapter<Request, Response, Chunk> = {
      ...adapter,
      encoder: {
        encode: (request, target) => encoder.encode(request, placeOf(target)),
        shape: (request, target) => encoder.shape(request, placeOf(target)),
        wrap: (target, body) => encoder.wrap(placeOf(target), body),
      },
      encodeRequest: (request, target) => adapter.encodeRequest(request, placeOf(target)),
    }
    return made
  }
  return {
    ...(chat === undefined ? {} : { chat: moved(chat) }),
    ...(embedding === undefined ? {} : { embedding: moved(embedding) }),
  }
}
