import type { Clock } from '../../shared/clock.ts'
import type { Sealer } from '../../shared/config/secrets.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { Log } from '../../shared/log.ts'
import type { Call } from '../call.ts'
import type { ChatRequest, ResponsesClient } from '../canonical/chat.ts'
import { isGatewayField } from '../canonical/gateway-fields.ts'
import type { InputItem, ResponseObject } from '../canonical/responses.ts'
import type { CarriedIds } from '../carried/carrier.ts'
import { carriedIds } from '../carried/ids.ts'
import { SAME } from '../dialects/openai-responses/request.ts'
import { type Fields, isFields } from '../providers/json.ts'
import type { Resolution, Route } from '../runtime.ts'
import { foreignId } from './foreign-id.ts'
import { foreignItems, itemsOf, type KeptResponse, keyOfItem, OWN } from './kept-response.ts'
import { isRunning } from './replay.ts'
import { KEEP_DEFAULT, type ResponseStore } from './store.ts'

/** What one call of a Responses client has to do with responses before and after it. */
export interface ResponsesTurn {
  /** The whole conversation the call answers. */
  readonly input: InputItem[]
  /** The gateway itself runs it in the background: no provider behind the model does. Known once it is narrowed. */
  readonly background: boolean
  /** As the client gave it. */
  readonly previousId: string | null
  /** Members of the client's body as a provider of the protocol gets them; undefined = left out. */
  readonly replaced: Fields
  /** The chat made of the request holds all of it: what looks like the same chat is the same request. */
  readonly whole: boolean
  /** The id of an answer as the client gets it. `id`: the provider's. */
  idOf(route: Route, id: string): string
  /** Of the routes behind a name, those that know what the call goes on from. Throws GatewayError `bad_request` when there are none. */
  narrow(resolution: Resolution): Resolution
  /** Throws GatewayError `bad_request` where a route, a fallback's, does not know what the call goes on from. */
  demand(route: Route): void
  /** Keeps the answer where its provider does not: the response object, or the event that ends its stream. Null = nothing is to be kept. Never rejects. */
  keep(answer: Uint8Array | string): Promise<void> | null
}

export interface Responses {
  /**
   * Reads what the call goes on from into its request. Throws or rejects with GatewayError `not_found` for a response that is gone or another's,
   * `counters_away`.
   */
  begin(call: Call): ResponsesTurn | Promise<ResponsesTurn>
}

export interface ResponsesDeps {
  store: ResponseStore
  sealer: Pick<Sealer, 'sign'>
  clock: Pick<Clock, 'now'>
  log: Log
  /** There is who runs responses in the background. */
  background?: boolean
}

/** Responses of the gateway's own, and ids of everybody's. */
export function createResponses(deps: ResponsesDeps): Responses {
  return {
    begin(call) {
      const request = call.request as ChatRequest
      const client = request.responses as ResponsesClient
      const ids = carriedIds(call.identity, deps.sealer)
      const key = call.message.callId.replaceAll('-', '').toLowerCase()
      client.key = key
      client.id = ids.encode('resp_', { deploymentId: OWN, id: key })
      const { previous_response_id: previous, input } = client.body
      const given = itemsOf(input)
      const known: Known = { input: given, previousId: previous ?? null, deploymentId: null, replaced: {} }
      const referred = new Set(given.map((item) => (item.type === 'item_reference' ? keyOfItem(String(item['id'])) : null)))
      referred.delete(null)
      if (referred.size > MOST_REFERRED)
        throw new GatewayError('bad_request', `The input refers to items of more than ${MOST_REFERRED} responses.`, {
          param: 'input',
        })
      if (known.previousId === null && referred.size === 0) return turnOf(deps, client, ids, known)
      return recall(deps, call, client, ids, known, referred as Set<string>)
    },
  }
}

interface Known {
  /** The whole conversation. */
  input: InputItem[]
  previousId: string | null
  /** Where the previous response is; null = here, or nowhere in particular. */
  deploymentId: string | null
  replaced: Fields
}

/** Each is a look-up of its own. */
const MOST_REFERRED = 100

/** Puts earlier turns before the input, and items in the place of what refers to them. */
async function recall(
  deps: ResponsesDeps,
  call: Call,
  client: ResponsesClient,
  ids: CarriedIds,
  known: Known,
  referred: ReadonlySet<string>,
): Promise<ResponsesTurn> {
  const items = new Map<string, InputItem>()
  for (const key of referred) {
    const kept = await load(deps.store, ids, key)
    for (const item of kept?.response.output ?? []) if (typeof item.id === 'string') items.set(item.id, item as InputItem)
  }
  let history: InputItem[] = []
  const { previousId } = known
  if (previousId !== null) {
    const place = ids.decode(previousId) ?? foreignId(previousId, call.identity)
    if (place.deploymentId === OWN) {
      const kept = await load(deps.store, ids, place.id)
      if (kept === null) throw gone(previousId)
      if (isRunning(kept.response)) throw unfinished(previousId)
      history = [...kept.input, ...(kept.response.output as InputItem[])]
      known.replaced['previous_response_id'] = undefined
    } else {
      known.deploymentId = place.deploymentId
      known.replaced['previous_response_id'] = place.id
    }
  }
  const said = known.input.map((item) => (item.type === 'item_reference' ? (items.get(String(item['id'])) ?? item) : item))
  if (history.length > 0 || items.size > 0) {
    known.input = [...history, ...said]
    known.replaced['input'] = foreignItems(known.input)
    const again = call.dialect.decodeRequest({ ...call.parsed, input: known.input }) as ChatRequest
    const request = call.request as ChatRequest
    request.messages = again.messages
    client.unplaced = (again.responses as ResponsesClient).unplaced
  }
  return turnOf(deps, client, ids, known)
}

function turnOf(
  deps: ResponsesDeps,
  client: ResponsesClient,
  ids: CarriedIds,
  { input, previousId, deploymentId, replaced }: Known,
): ResponsesTurn {
  let ownBackground = false
  return {
    input,
    get background() {
      return ownBackground
    },
    previousId,
    replaced,
    whole: deploymentId === null && isWhole(client),
    idOf(route, id) {
      if (route.provider.responses?.stateless === true) return client.id as string
      return ids.encode('resp_', { deploymentId: route.deployment.id, id })
    },
    narrow(resolution) {
      const background = client.body.background === true
      if (deploymentId === null && !background) return resolution
      const knows = resolution.routes.filter((route) => keepsResponses(route))
      if (background && knows.length === 0 && deploymentId === null && deps.background === true) {
        ownBackground = true
        return resolution
      }
      if (background && knows.length === 0) {
        throw new GatewayError('unsupported_parameter', `No provider of ${resolution.group} runs responses in the background.`, {
          param: 'background',
        })
      }
      const there = deploymentId === null ? knows : knows.filter(({ deployment }) => deployment.id === deploymentId)
      // Another deployment of the provider may be of the same account: it will say.
      const routes = there.length > 0 ? there : knows
      if (routes.length > 0) return { ...resolution, routes }
      throw elsewhere(previousId, resolution.group)
    },
    demand(route) {
      if (deploymentId !== null && !keepsResponses(route)) throw elsewhere(previousId, route.deployment.modelGroup)
    },
    keep(answer) {
      if (client.body.store === false) return null
      const response = responseIn(answer)
      if (response?.id !== client.id) return null
      const kept: KeptResponse = { response, input }
      return put(deps, client.key as string, kept)
    },
  }
}

function elsewhere(previousId: string | null, group: string): GatewayError {
  return new GatewayError(
    'bad_request',
    `The response ${previousId} is kept by the provider of another model: ${group} cannot go on from it. Send its items as input.`,
    { param: 'previous_response_id' },
  )
}

/** Fields a chat has a place for, and those that say nothing about the answer. */
const PLACED: ReadonlySet<string> = new Set([
  ...SAME,
  'model',
  'input',
  'instructions',
  'max_output_tokens',
  'metadata',
  'previous_response_id',
  'reasoning',
  'store',
  'text',
  'tool_choice',
  'tools',
  'top_logprobs',
])

function isWhole({ body, unplaced }: ResponsesClient): boolean {
  if (unplaced.length > 0) return false
  for (const name in body) if (body[name] != null && !PLACED.has(name) && !isGatewayField(name, body[name])) return false
  for (const name in body.reasoning) if (name !== 'effort') return false
  return true
}

/** Whether answers of a route are kept by its provider, for a client of the protocol. */
export function keepsResponses(route: Route): boolean {
  const { responses } = route.provider
  return responses !== undefined && !responses.stateless && speaksResponses(route)
}

/**
 * Whether clients of the Responses API reach the provider in its own words. The operator may want its chat instead; and another server in the
 * provider's place (`openai/…` with an `api_base`) mostly has a chat alone, so it is asked for more only where the operator says so.
 */
export function speaksResponses({ provider, target }: Pick<Route, 'provider' | 'target'>): boolean {
  const { settings, base } = target
  const { responses } = provider
  if (responses === undefined || settings['use_chat_completions_api'] === true) return false
  if (responses.sole === true || settings['use_responses_api'] === true || provider.base === null) return true
  return domainOf(base) === domainOf(provider.base)
}

/** `eu.api.openai.com` is OpenAI as much as `api.openai.com` is: the last two labels of a host. */
function domainOf(url: string): string {
  const host = /^https?:\/\/([^/:]+)/.exec(url)?.[1] ?? url
  return host.split('.').slice(-2).join('.')
}

async function put({ store, log }: ResponsesDeps, key: string, kept: KeptResponse): Promise<void> {
  try {
    if (await store.put(key, JSON.stringify(kept), KEEP_DEFAULT)) return
    log.warn({ key }, 'a response is not kept: there is no room for it')
  } catch (thrown) {
    log.warn({ key, error: (thrown as Error).message }, 'a response is not kept')
  }
}

/** A kept response of the caller's; null = there is none. Throws GatewayError `not_found` for another's. */
export async function load(store: ResponseStore, ids: CarriedIds, key: string): Promise<KeptResponse | null> {
  const record = await store.get(key)
  if (record === null) return null
  const kept = JSON.parse(record) as KeptResponse
  ids.decode(kept.response.id)
  return kept
}

function unfinished(id: string): GatewayError {
  return new GatewayError('bad_request', `The response ${id} is not finished yet.`, { param: 'previous_response_id' })
}

export function gone(id: string): GatewayError {
  return new GatewayError('not_found', `Response with id '${id}' not found.`, { param: 'previous_response_id' })
}

/** The response object of an answer, or of the event that ends its stream. */
function responseIn(answer: Uint8Array | string): ResponseObject | null {
  const source = typeof answer === 'string' ? answer : Buffer.from(answer).toString('utf8')
  const at = source.lastIndexOf('\ndata: ')
  try {
    const value: unknown = JSON.parse(source.startsWith('{') ? source : source.slice(at + 7))
    const response = isFields(value) && isFields(value['response']) ? value['response'] : value
    return isFields(response) && Array.isArray(response['output']) ? (response as unknown as ResponseObject) : null
  } catch {
    return null
  }
}
