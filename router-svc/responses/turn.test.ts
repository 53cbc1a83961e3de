import { describe, expect, it } from 'vitest'
import { adminIdentity } from '../../proto/identity.ts'
import { createSealer } from '../../shared/config/secrets.ts'
import { silentLog } from '../../shared/log.ts'
import type { Call } from '../call.ts'
import type { ChatRequest } from '../canonical/chat.ts'
import { openaiResponses } from '../dialects/openai-responses.ts'
import type { Resolution, Route } from '../runtime.ts'
import { createMemoryResponses } from './memory.ts'
import type { ResponseStore } from './store.ts'
import { createResponses, type ResponsesTurn, speaksResponses } from './turn.ts'

const CALLS = ['00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002']
const memory = (): ResponseStore => createMemoryResponses({ clock: { monotonic: () => 0 } })
const alice = { ...adminIdentity('alice'), role: 'internal_user' as const, userId: 'alice' }
const bob = { ...alice, keyHash: 'bob', userId: 'bob' }

function gateway(store = memory()) {
  const responses = createResponses({ store, sealer: createSealer('secret'), clock: { now: () => 0 }, log: silentLog })
  return {
    async begin(fields: Record<string, unknown>, identity = alice, callId = CALLS[0] as string) {
      const parsed = { model: 'm', input: 'hi', ...fields }
      const request = openaiResponses.decodeRequest(parsed)
      const call = { request, parsed, identity, dialect: openaiResponses, message: { callId } } as unknown as Call
      const turn = await responses.begin(call)
      return { turn, request: call.request as ChatRequest }
    },
  }
}

const answer = (id: string | null | undefined, output: unknown[] = []) => JSON.stringify({ id, object: 'response', output })
const route = (id: string, responses?: { stateless: boolean }, settings = {}): Route =>
  ({ deployment: { id }, provider: { responses, base: null }, target: { settings } }) as unknown as Route
const behind = (...routes: Route[]): Resolution => ({ group: 'm', routes, served: [] })
const narrowed = (turn: ResponsesTurn, ...routes: Route[]) =>
  turn.narrow(behind(...routes)).routes.map(({ deployment }) => deployment.id)

describe('a provider that speaks Responses', () => {
  const at = (base: string | null, given: string, settings = {}, responses: unknown = { stateless: false }) =>
    speaksResponses({ provider: { responses, base }, target: { base: given, settings } } as unknown as Route)

  it('is asked in its own words at its own hosts, and another server in its place only where the operator says so', () => {
    const own = 'https://api.openai.com/v1'
    expect(at(own, own)).toBe(true)
    expect(at(own, 'https://eu.api.openai.com/v1')).toBe(true)
    expect(at(own, 'http://vllm.internal:8000/v1')).toBe(false)
    expect(at(own, 'http://vllm.internal:8000/v1', { use_responses_api: true })).toBe(true)
    expect(at(own, own, { use_chat_completions_api: true })).toBe(false)
    expect(at(null, 'https://res.openai.azure.com')).toBe(true)
    expect(at(own, 'http://proxy/v1', {}, { stateless: false, sole: true })).toBe(true)
  })
})

describe('what a call goes on from', () => {
  it('is what was said before and answered, however many turns ago', async () => {
    const { begin } = gateway()
    const first = await begin({ input: 'one' })
    const said = {
      id: 'msg_1',
      type: 'message',
      role: 'assistant',
      status: 'completed',
      content: [{ type: 'output_text', text: 'two' }],
    }
    await first.turn.keep(answer(first.request.responses?.id, [said]))
    const second = await begin({ input: 'three', previous_response_id: first.request.responses?.id }, alice, CALLS[1])
    expect(second.request.messages.map(({ content }) => content)).toEqual(['one', 'two', 'three'])
    await second.turn.keep(
      `event: x\ndata: ${JSON.stringify({ response: { id: second.request.responses?.id, output: [said] } })}\n\n`,
    )
    const third = await begin({ input: 'five', previous_response_id: second.request.responses?.id })
    expect(third.request.messages.map(({ content }) => content)).toEqual(['one', 'two', 'three', 'two', 'five'])
  })

  it('is nobody else’s', async () => {
    const { begin } = gateway()
    const first = await begin({})
    const id = first.request.responses?.id
    await first.turn.keep(answer(id))
    await expect(begin({ previous_response_id: id }, bob)).rejects.toMatchObject({ code: 'not_found' })
    await expect(begin({ previous_response_id: 'resp_of_a_provider' })).rejects.toMatchObject({ code: 'not_found' })
  })

  it('was not kept where it was not to be stored, and is then not found', async () => {
    const { begin } = gateway()
    const first = await begin({ store: false })
    expect(first.turn.keep(answer(first.request.responses?.id))).toBeNull()
    await expect(begin({ previous_response_id: first.request.responses?.id })).rejects.toMatchObject({ code: 'not_found' })
  })

  it('is left to its provider where that keeps it, and to its deployment while it is there', async () => {
    const { begin } = gateway()
    const native = { stateless: false }
    const { turn: maker } = await begin({})
    const id = maker.idOf(route('d1', native), 'resp_theirs')
    const { turn } = await begin({ previous_response_id: id })
    expect(turn.replaced).toEqual({ previous_response_id: 'resp_theirs' })
    expect(turn.keep(answer('resp_other'))).toBeNull()
    expect(narrowed(turn, route('d0', native), route('d1', native))).toEqual(['d1'])
    expect(narrowed(turn, route('d0', native), route('d2'))).toEqual(['d0'])
    expect(() => turn.demand(route('d0', native))).not.toThrow()
    expect(() => turn.demand(route('d2'))).toThrow(expect.objectContaining({ param: 'previous_response_id' }))
    const chats = [route('d2'), route('d3', { stateless: true }), route('d4', native, { use_chat_completions_api: true })]
    expect(() => narrowed(turn, ...chats)).toThrow(
      expect.objectContaining({ code: 'bad_request', param: 'previous_response_id' }),
    )
  })

  it('runs in the background only where providers do that', async () => {
    const { turn } = await gateway().begin({ background: true })
    expect(narrowed(turn, route('d1'), route('d2', { stateless: false }))).toEqual(['d2'])
    expect(() => narrowed(turn, route('d1'))).toThrow(expect.objectContaining({ param: 'background' }))
  })

  it('never fails an answer that cannot be kept', async () => {
    const away: ResponseStore = { ...memory(), put: () => Promise.reject(new Error('away')) }
    const { turn, request } = await gateway(away).begin({})
    await expect(turn.keep(answer(request.responses?.id))).resolves.toBeUndefined()
  })

  it.each([
    [{}, true],
    [{ instructions: 'x', temperature: 1, metadata: { a: 'b' }, tools: [{ type: 'mcp' }], tags: ['a'] }, true],
    [{ include: ['reasoning.encrypted_content'] }, false],
    [{ conversation: 'conv_1' }, false],
    [{ prompt: { id: 'p' } }, false],
    [{ reasoning: { effort: 'low', summary: 'auto' } }, false],
    [{ input: [{ type: 'item_reference', id: 'x' }] }, false],
  ])('is cached only where the chat says all of it: %j', async (fields, whole) => {
    expect((await gateway().begin(fields)).turn.whole).toBe(whole)
  })
})
