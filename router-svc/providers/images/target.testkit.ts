import { PLAIN_TARGET } from '../plain-target.ts'
import type { Conversation, DecodeContext, Provider, Target, UpstreamAnswer, UpstreamRequest } from '../provider.ts'

/** Where a call goes in tests of makers of images. */
export function targetOf(name: string, provider: Provider, model: string, fields: Partial<Target> = {}): Target {
  return {
    ...PLAIN_TARGET,
    provider: name,
    model,
    base: provider.base ?? 'https://host.test',
    ...fields,
  }
}

export function contextOf(request: object, model = 'm'): DecodeContext {
  return { id: 'chatcmpl-1', created: 7, model, request: request as Record<string, unknown> }
}

export function json(body: unknown, status = 200): UpstreamAnswer {
  return { status, headers: { 'content-type': 'application/json' }, body: Buffer.from(JSON.stringify(body)) }
}

export function bytes(text: string, type = 'image/png', status = 200): UpstreamAnswer {
  return { status, headers: { 'content-type': type }, body: Buffer.from(text) }
}

/** Plays a conversation: `server` answers each request; `log` gets what was sent, and the pauses before. */
export function play<Response>(
  conversation: Conversation<Response>,
  server: (request: UpstreamRequest) => UpstreamAnswer,
): { result: Response | { last: UpstreamRequest }; sent: UpstreamRequest[]; pauses: number[] } {
  const sent: UpstreamRequest[] = []
  const pauses: number[] = []
  let step = conversation.next([])
  while (step.done !== true) {
    const { send, after = 0 } = step.value
    sent.push(...send)
    pauses.push(after)
    if (pauses.length > 50) throw new Error('a conversation without an end')
    step = conversation.next(send.map(server))
  }
  return { result: step.value, sent, pauses }
}
