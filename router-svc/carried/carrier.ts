import type { CarriedCall } from '../../proto/carried.ts'
import type { Identity } from '../../proto/identity.ts'
import type { TokenUsage, UsageEvent } from '../../proto/usage.ts'
import type { Headers, UpstreamAnswer } from '../providers/provider.ts'
import type { ResponseStore } from '../responses/store.ts'
import type { Route, RouterRuntime } from '../runtime.ts'
import type { ObjectTools } from './object-tools.ts'

/**
 * Knows one family of endpoints whose calls are carried to a provider in its own words (proto/carried.ts): where they go, what is changed in
 * them (ids), and what of the answer is billed. One file each, listed in index.ts.
 */
export interface Carrier {
  /** Where the call goes, and as which model's call it is admitted and booked. Throws GatewayError. Nothing is sent yet. */
  choose(request: CarriedRequest, find: Finder, ids: CarriedIds): Choice | Promise<Choice>
  /** Throws or rejects with GatewayError. */
  serve(request: CarriedRequest, choice: Choice, tools: CarriedTools): Promise<CarriedAnswer>
}

/** A carried call as carriers see it. */
export interface CarriedRequest extends CarriedCall {
  /** Name of the endpoint (`acreate_file`), and its path pattern. */
  endpoint: string
  pattern: string
  /** Names lower case, credentials left out. */
  headers: Headers
  body: Uint8Array
  /** The body as a JSON object; null when it is none. Parsed once, when first asked for. */
  json(): Record<string, unknown> | null
  /** The fields and files of a form (router-svc/form.ts); null when it is none. */
  form(): Promise<Record<string, unknown> | null>
  identity: Identity
}

export interface Choice {
  route: Route
  /** The model the call names, or what stands for it in limits and ledger (`files`). */
  model: string
  modelGroup: string
}

export interface Finder {
  readonly runtime: RouterRuntime
  /** The deployment with this id, whose model the caller may use. Throws GatewayError `not_found`. */
  byDeployment(id: string): Route
  /** Some deployment of a model group the caller may use: the first that can serve. Throws GatewayError `unknown_model`, `model_denied`. */
  byModel(model: string): Route
  /**
   * The credentials of a provider: the deployment the settings name for `purpose` (`files_settings`, …), else the first deployment of the provider,
   * else the environment. Throws GatewayError `provider_authentication` when there are none.
   */
  byProvider(provider: string, purpose?: string, among?: readonly string[]): Route
  /** An address alone: a provider's own or a given one, without anything that would prove who calls. */
  bare(provider: string, base: string | null): Route
  /** Opens what accounting sealed. */
  open(sealed: string): string
  /** Credentials the settings name for a purpose, or for `purpose:id` of several. */
  services(purpose: string): { provider: string; vectorStore: string | null; route(): Route }[]
  /** The caller may use every model there is. */
  readonly anyModel: boolean
}

/** A request to the provider, without its credential. */
export interface CarriedUpstream {
  method: string
  /** Absolute. */
  url: string
  headers: Record<string, string>
  body: string | Uint8Array
}

export interface CarriedTools {
  /** A request whose answer the carrier reads itself; any status. `route`: whose credential proves it. Rejects with GatewayError. */
  ask(route: Route, upstream: CarriedUpstream): Promise<UpstreamAnswer>
  /** Ids that name their deployment and belong to the caller (ids.ts). */
  readonly ids: CarriedIds
  /** Files, batches and the like at providers, as far as we remember them. */
  readonly objects: ObjectTools
  /** Responses that the gateway keeps itself. */
  readonly kept: ResponseStore
  /** Books what another event than this call's cost: a batch's results. Unique by its call id, so it may be said again. */
  book(event: UsageEvent): void
  /** Unix milliseconds. */
  now(): number
  wait(milliseconds: number): Promise<void>
}

/** Ids of objects at providers as clients get them (ids.ts). */
export interface CarriedIds {
  /** `prefix`: what ids of its kind begin with (`file-`). The same object has the same id for the same owner. */
  encode(prefix: string, object: ObjectName): string
  /** Null for an id that is not ours: the provider's own. Throws GatewayError `not_found` for one that belongs to somebody else. */
  decode(id: string): ObjectName | null
}

export interface ObjectName {
  deploymentId: string
  /** The id at the provider. */
  id: string
}

export type CarriedAnswer =
  /** Sent on as it comes, whatever its status; `rewrite` gets a whole answer of status < 300, `through` one in pieces. */
  | {
      kind: 'forward'
      upstream: CarriedUpstream
      rewrite?: (body: Uint8Array, headers: Headers) => Uint8Array
      through?: Through
      meter?: Meter
    }
  /** What we keep ourselves, piece by piece; null = that was all. `next` rejects with GatewayError. */
  | { kind: 'pieces'; headers: Record<string, string>; next(): Promise<Uint8Array | null> }
  | { kind: 'answer'; status: number; headers: Record<string, string>; body: string | Uint8Array; usage?: TokenUsage }

/** Changes an answer on its way. */
export interface Through {
  /** Bytes for the client, possibly none: their own memory. */
  push(bytes: Uint8Array): Uint8Array
  /** What is left at the end of input. */
  end(): Uint8Array
}

/** Reads what an answer cost while its bytes go by. Never throws: a form nobody knows costs nothing but is delivered. */
export interface Meter {
  /** Before the first bytes, of an answer of status < 300. */
  head?(headers: Headers): void
  see(bytes: Uint8Array): void
  /** Once, when nothing more comes. Null = nothing is billed. */
  usage(): TokenUsage | null
  /** The model the answer names. */
  readonly model?: string | null
}
