import { describe, expect, it } from 'vitest'
import type { Message } from '../../canonical/chat.ts'
import type { Fields } from '../json.ts'
import { ADAPTER, encode } from './encode.testkit.ts'
import { allRecordings, haveRecordings } from './recordings.testkit.ts'

const input = (...messages: Message[]): unknown => encode({ messages })['input']
const call = (id: string, name = 'f'): NonNullable<Message['tool_calls']>[number] => ({
  id,
  type: 'function',
  function: { name, arguments: '{"a":1}' },
})

describe('messages as input items', () => {
  it('instruct by the first, and by their role after it', () => {
    const body = encode({
      messages: [
        {
          role: 'system',
          content: [
            { type: 'text', text: 'A' },
            { type: 'text', text: 'B' },
          ],
        },
        { role: 'developer', content: 'C' },
        { role: 'user', content: 'Hi', name: 'ann' },
      ],
    })
    expect([body['instructions'], body['input']]).toEqual([
      'AB',
      [
        { role: 'developer', content: 'C' },
        { role: 'user', content: 'Hi' },
      ],
    ])
  })

  it('hold pictures and files in every form', () => {
    const parts = [
      { type: 'image_url', image_url: { url: 'https://x.test/a.png', detail: 'low' } },
      { type: 'image_url', image_url: 'data:image/png;base64,AA==' },
      { type: 'image_url', image_url: { file_id: 'file-1' } },
      { type: 'file', file: { file_id: 'file-2' } },
      { type: 'file', file: { file_id: 'https://x.test/a.pdf' } },
      { type: 'file', file: { file_data: 'AA==' } },
      { type: 'file', file: { file_data: 'data:text/plain;base64,AA==', filename: 'b.txt' } },
      { type: 'input_file', file_url: 'https://x.test/c.pdf' },
    ]
    const [message] = input({ role: 'user', content: parts } as Message) as Fields[]
    expect(message?.['content']).toEqual([
      { type: 'input_image', image_url: 'https://x.test/a.png', detail: 'low' },
      { type: 'input_image', image_url: 'data:image/png;base64,AA==', detail: 'auto' },
      { type: 'input_image', file_id: 'file-1', detail: 'auto' },
      { type: 'input_file', file_id: 'file-2' },
      { type: 'input_file', file_url: 'https://x.test/a.pdf' },
      { type: 'input_file', filename: 'file.pdf', file_data: 'data:application/pdf;base64,AA==' },
      { type: 'input_file', filename: 'b.txt', file_data: 'data:text/plain;base64,AA==' },
      { type: 'input_file', file_url: 'https://x.test/c.pdf' },
    ])
  })

  it.each([
    [{ role: 'user', content: [{ type: 'input_audio', input_audio: {} }] }, 'messages[0].content[0]'],
    [{ role: 'user', content: [{ type: 'image_url', image_url: {} }] }, 'messages[0].content[0]'],
    [{ role: 'user', content: [{ type: 'file', file: {} }] }, 'messages[0].content[0]'],
    [{ role: 'assistant', content: [{ type: 'image_url', image_url: 'x' }] }, 'messages[0].content[0]'],
    [{ role: 'tool', content: 'x' }, 'messages[0].tool_call_id'],
    [{ role: 'critic', content: 'x' }, 'messages[0].role'],
  ])('of %j are refused by their place', (message, param) => {
    expect(() => input(message as Message)).toThrow(expect.objectContaining({ code: 'bad_request', param }))
  })

  it('hold calls and their results beside each other, of functions and of custom tools', () => {
    const custom = { id: 'c2', type: 'custom', custom: { name: 'shell', input: 'ls' } }
    expect(
      input(
        { role: 'assistant', content: 'Wait.', tool_calls: [call('c1'), custom] },
        { role: 'tool', tool_call_id: 'c1', content: [{ type: 'text', text: 'r' }] },
        { role: 'tool', tool_call_id: 'c2', content: 'files' },
      ),
    ).toEqual([
      { role: 'assistant', content: 'Wait.' },
      { type: 'function_call', call_id: 'c1', name: 'f', arguments: '{"a":1}' },
      { type: 'custom_tool_call', call_id: 'c2', name: 'shell', input: 'ls' },
      { type: 'function_call_output', call_id: 'c1', output: [{ type: 'input_text', text: 'r' }] },
      { type: 'custom_tool_call_output', call_id: 'c2', output: 'files' },
    ])
  })

  it('give calls without ids one, and cut ids that are too long alike in call and result', () => {
    const long = `call_${'x'.repeat(100)}`
    const items = input(
      { role: 'assistant', content: null, function_call: { name: 'f', arguments: '{}' } },
      { role: 'function', name: 'f', content: '1' },
      { role: 'assistant', content: null, tool_calls: [call(long)] },
      { role: 'tool', tool_call_id: long, content: '2' },
    ) as Fields[]
    expect(items.map((item) => item['call_id'])).toEqual(['call_1', 'call_1', long.slice(0, 64), long.slice(0, 64)])
  })

  it('hold what was refused as what was said', () => {
    expect(input({ role: 'assistant', content: null, refusal: 'No.' })).toEqual([{ role: 'assistant', content: 'No.' }])
    expect(input({ role: 'assistant', content: '' })).toEqual([])
  })
})

describe('an answer that comes back', () => {
  const reasoning = { type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: 'gAAA' }
  const search = { type: 'web_search_call', id: 'ws_1', status: 'completed', action: { type: 'search', query: 'q' } }
  const said = { type: 'message', id: 'msg_1', role: 'assistant', status: 'completed', phase: 'commentary', length: 3 }
  const ended = { type: 'message', id: 'msg_2', role: 'assistant', status: 'completed', length: 2 }
  const called = { type: 'function_call', id: 'fc_1', call_id: 'c1', name: 'f', status: 'completed', namespace: 'n' }
  const back = (output_items: unknown[], fields: Partial<Message> = {}): Message => ({
    role: 'assistant',
    content: 'OneTw',
    provider_specific_fields: { output_items },
    ...fields,
  })
  const text = (words: string) => [{ type: 'output_text', text: words, annotations: [], logprobs: [] }]

  it('is the items it came as, in their order, with their ids', () => {
    const { length: _l1, ...first } = said
    const { length: _l2, ...second } = ended
    expect(input(back([reasoning, said, search, called, ended], { tool_calls: [call('c1'), call('c2', 'g')] }))).toEqual([
      reasoning,
      { ...first, content: text('One') },
      search,
      { ...called, arguments: '{"a":1}' },
      { ...second, content: text('Tw') },
      { type: 'function_call', call_id: 'c2', name: 'g', arguments: '{"a":1}' },
    ])
  })

  it('holds text the client changed whole, and no call the client dropped', () => {
    const { length: _length, ...first } = said
    expect(input(back([reasoning, said, called, ended], { content: 'Something else' }))).toEqual([
      reasoning,
      { ...first, content: text('Something else') },
    ])
  })

  it('holds no reasoning the provider cannot read, nor ids that belong to it, unless the provider stored it', () => {
    const { encrypted_content: _gone, ...unreadable } = reasoning
    const message = back([unreadable, ended], { content: 'Tw' })
    expect(input(message)).toEqual([{ role: 'assistant', content: 'Tw' }])
    const stored = encode({ messages: [message], store: true })['input'] as Fields[]
    expect(stored[0]).toEqual(unreadable)
    expect(stored[1]).toMatchObject({ id: 'msg_2' })
  })

  it('gets its pictures back from among the images', () => {
    const drawn = { type: 'image_generation_call', id: 'ig_1', status: 'completed' }
    const images = [{ type: 'image_url', index: 0, image_url: { url: 'data:image/png;base64,AAAA' } }]
    expect(input(back([drawn], { content: '', images }))).toEqual([{ ...drawn, result: 'AAAA' }])
    expect(input(back([drawn], { content: '' }))).toEqual([])
  })
})

const kept = allRecordings()
  .filter(({ body, status }) => body !== null && status === 200 && !body.includes('"encrypted_content": null'))
  .map((one) => [one.name, one.body ?? ''] as const)
  .filter(([, body]) => body.includes('"encrypted_content"') && !/"encrypted_content":\s*null/.test(body))

describe.skipIf(!haveRecordings())('a recorded answer with encrypted reasoning', () => {
  it.each(kept)('%s goes back as the items it was', (_name, body) => {
    const context = { id: 'x', created: 1, model: 'm', request: {} }
    const [choice] = ADAPTER.decodeResponse(Buffer.from(body), {}, context).choices
    // As a client sends it: through JSON.
    const message = JSON.parse(JSON.stringify(choice?.message)) as Message
    const output = (JSON.parse(body) as { output: Fields[] }).output
    const sent = input(message) as Fields[]
    expect(sent.map(({ type }) => type)).toEqual(output.map(({ type }) => type))
    for (const [index, item] of output.entries()) {
      if (item['type'] === 'message') expect(sent[index]).toMatchObject({ id: item['id'], role: 'assistant' })
      else expect(sent[index]).toEqual(item)
    }
  })
})
