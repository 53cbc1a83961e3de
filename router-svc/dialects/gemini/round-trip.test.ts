import { describe, expect, it } from 'vitest'
import { target } from '../../providers/gemini/encode.testkit.ts'
import { chats, haveRecordings, type Recording } from '../../providers/gemini/recordings.testkit.ts'
import { encodeBody } from '../../providers/gemini/request.ts'
import type { Fields } from '../../providers/gemini/wire.ts'
import { decodeRequest } from './request.ts'

/** Names that clients also write in snake case. */
const SNAKE = /"(inline_data|mime_type|file_data|file_uri)"(?=:)/g
const camel = (name: string) => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
const MODEL = /models\/([^:]+):/

/** What a provider of Gemini's protocol gets of a request of its own client that went through the canonical form. */
function around(request: Fields, model: string): unknown {
  const { model: _named, ...body } = encodeBody(decodeRequest({ ...request, model }), target({ model })) as Fields
  return JSON.parse(JSON.stringify(body))
}

/** What says nothing is not sent: empty lists and objects at the top, one candidate. */
function withoutNothing(fields: Fields): Fields {
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => typeof value !== 'object' || value === null || Object.keys(value).length > 0),
  )
}

/** The same request spelled one way: turns that follow each other are one, an only text system is parts. */
function spelled({ model: _model, stream: _stream, contents, systemInstruction, ...given }: Fields): unknown {
  const { generationConfig, ...others } = given
  const { candidateCount: _one, ...config } = (generationConfig ?? {}) as Fields
  const rest = withoutNothing({ ...others, generationConfig: config })
  const turns: { role: string; parts: unknown[] }[] = []
  for (const { role, parts } of contents as { role?: string; parts: unknown[] }[]) {
    const last = turns.at(-1)
    if (last?.role === (role ?? 'user')) last.parts.push(...parts)
    else turns.push({ role: role ?? 'user', parts: [...parts] })
  }
  const system = systemInstruction as { parts: unknown[] } | undefined
  return { ...rest, ...(system === undefined ? {} : { systemInstruction: { parts: system.parts } }), contents: turns }
}

describe.skipIf(!haveRecordings())('requests Gemini’s service accepted', () => {
  const accepted = chats().filter((recording): recording is Recording & { request: Fields } => {
    return Array.isArray(recording.request?.['contents']) && recording.status === 200
  })

  it('are there', () => {
    expect(accepted.length).toBeGreaterThanOrEqual(20)
  })

  for (const [index, { file, url, request }] of accepted.entries()) {
    it(`are the same after the canonical form: ${file} (${index})`, () => {
      const given = JSON.parse(JSON.stringify(request).replace(SNAKE, camel)) as Fields
      const made = around(request, MODEL.exec(url)?.[1] ?? 'gemini-2.5-flash')
      // Two that are put right: a result that did not say which call it is of, and arguments in pieces.
      if (/toolChoiceRequiredWithReasoning|partialArgs/.test(file + JSON.stringify(given)))
        expect(made).toMatchObject({ tools: given['tools'] })
      else expect(made).toEqual(spelled(given))
    })
  }
})
