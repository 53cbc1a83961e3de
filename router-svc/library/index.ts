/**
 * Turnpike as a library: any provider from one process, without a server. The same adapters as the gateway, OpenAI's types, streams as async
 * iterables, and a report with the exact cost of every call.
 *
 *   import { completion } from 'turnpike'
 *   const answer = await completion({ model: 'anthropic/claude-sonnet-4-5', messages: [{ role: 'user', content: 'Hello' }] })
 */
import type { Calls } from './calls.ts'
import { defaultClient } from './default-client.ts'
import { processEnvironment } from './environment.ts'
import {
  type Client,
  type LibraryOptions,
  createClient as makeClient,
  createRouter as makeRouter,
  type RouterClient,
  type RouterOptions,
} from './router.ts'

export type { Attempt, TokenUsage } from '../../proto/usage.ts'
export type { ChatChunk, ChatRequest, ChatResponse, Message, Tool, ToolCall, Usage } from '../canonical/chat.ts'
export type { CompletionChunk, CompletionResponse } from '../canonical/completion.ts'
export type { EmbeddingResponse } from '../canonical/embedding.ts'
export type { ImageResponse } from '../canonical/image.ts'
export type { ModerationResponse } from '../canonical/moderation.ts'
export type { RerankResponse } from '../canonical/rerank.ts'
export type { ResponseEvent, ResponseObject } from '../canonical/responses.ts'
export type { TranscriptionResponse } from '../canonical/transcription.ts'
export type { Calls, Sound, Streamed } from './calls.ts'
export { close } from './default-client.ts'
export { TurnpikeError } from './errors.ts'
export type { EventStream } from './events.ts'
export type { FileInput } from './form.ts'
export { type CallReport, callReport, completionCost } from './report.ts'
export type * from './requests.ts'
export type { Client, ModelListEntry, RouterClient } from './router.ts'

type WithEnvironment<Options extends LibraryOptions> = Omitted<Options> & Partial<Pick<Options, 'env'>>
type Omitted<Options> = { [Name in keyof Options as Name extends 'env' ? never : Name]: Options[Name] }

/** A client of its own, with its own connections, for calls that name their provider. `env` is the process's unless given. */
export function createClient(options: WithEnvironment<LibraryOptions> = {}): Client {
  return makeClient({ env: processEnvironment(), ...options })
}

/** A router over a list of deployments. `env` is the process's unless given. Throws TurnpikeError with every problem of the options. */
export function createRouter(options: WithEnvironment<RouterOptions>): RouterClient {
  return makeRouter({ env: processEnvironment(), ...options } as RouterOptions)
}

export type Router = RouterClient

/** `createRouter` for those who look for LiteLLM's class. */
export const Router = function Router(options: WithEnvironment<RouterOptions>): RouterClient {
  return createRouter(options)
} as unknown as new (
  options: WithEnvironment<RouterOptions>,
) => RouterClient

// Each finds the client when it is called: importing this does no work.
const call = <Name extends keyof Calls>(name: Name): Calls[Name] =>
  ((request: never) => (defaultClient()[name] as (request: never) => unknown)(request)) as Calls[Name]

export const completion = call('completion')
export const textCompletion = call('textCompletion')
export const responses = call('responses')
export const messages = call('messages')
export const countTokens = call('countTokens')
export const embedding = call('embedding')
export const moderation = call('moderation')
export const rerank = call('rerank')
export const imageGeneration = call('imageGeneration')
export const imageEdit = call('imageEdit')
export const imageVariation = call('imageVariation')
export const transcription = call('transcription')
export const translation = call('translation')
export const speech = call('speech')
