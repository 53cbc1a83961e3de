import { describe, expect, it } from 'vitest'
import type { GatewayError } from '../../../shared/errors.ts'
import type { Message } from '../../canonical/chat.ts'
import { encode } from './encode.testkit.ts'

function turns(...messages: Message[]): unknown {
  return encode({ messages }).messages
}

function refusal(...messages: Message[]): GatewayError {
  try {
    encode({ messages })
  } catch (thrown) {
    return thrown as GatewayError
  }
  throw new Error('was not refused')
}

const call = (id: string, name: string, args: string) => ({ id, type: 'function', function: { name, arguments: args } })

describe('system messages', () => {
  it('before the conversation become system blocks in order, with their cache marks', () => {
    const body = encode({
      messages: [
        { role: 'system', content: 'One.' },
        { role: 'developer', content: [{ type: 'text', text: 'Two.', cache_control: { type: 'ephemeral' } }] },
        { role: 'system', content: 'Three.', cache_control: { type: 'ephemeral', ttl: '1h' } },
        { role: 'user', content: 'Hi' },
      ],
    })
    expect(body.system).toEqual([
      { type: 'text', text: 'One.' },
      { type: 'text', text: 'Two.', cache_control: { type: 'ephemeral' } },
      { type: 'text', text: 'Three.', cache_control: { type: 'ephemeral', ttl: '1h' } },
    ])
    expect(body.messages).toEqual([{ role: 'user', content: 'Hi' }])
  })

  it('inside the conversation join the user turn at their place', () => {
    expect(
      turns(
        { role: 'user', content: 'a' },
        { role: 'assistant', content: 'b' },
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'c' },
      ),
    ).toEqual([
      { role: 'user', content: 'a' },
      { role: 'assistant', content: 'b' },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'Be brief.' },
          { type: 'text', text: 'c' },
        ],
      },
    ])
  })

  it('stay system turns when the client turned the beta for them on', () => {
    const messages = [
      { role: 'user', content: 'a' },
      { role: 'system', content: 's' },
    ]
    const body = encode({ messages, betas: ['mid-conversation-system-2026-04-07'] })
    expect(body.messages).toEqual([
      { role: 'user', content: 'a' },
      { role: 'system', content: 's' },
    ])
  })
})

describe('turns', () => {
  it('of one role merge', () => {
    expect(turns({ role: 'user', content: 'a' }, { role: 'user', content: [{ type: 'text', text: 'b' }] })).toEqual([
      {
        role: 'user',
        content: [
          { type: 'text', text: 'a' },
          { type: 'text', text: 'b' },
        ],
      },
    ])
  })

  it('begin with the user', () => {
    expect(turns({ role: 'assistant', content: 'Welcome.' }, { role: 'user', content: 'Hi' })).toEqual([
      { role: 'user', content: '.' },
      { role: 'assistant', content: 'Welcome.' },
      { role: 'user', content: 'Hi' },
    ])
    expect(turns({ role: 'system', content: 'Only a system message.' })).toEqual([{ role: 'user', content: '.' }])
  })

  it('lose blank text, and vanish when nothing else is in them', () => {
    expect(
      turns(
        { role: 'user', content: 'a' },
        { role: 'assistant', content: '' },
        {
          role: 'user',
          content: [
            { type: 'text', text: ' \n' },
            { type: 'text', text: 'b' },
          ],
        },
      ),
    ).toEqual([
      {
        role: 'user',
        content: [
          { type: 'text', text: 'a' },
          { type: 'text', text: 'b' },
        ],
      },
    ])
  })

  it('of the assistant at the end lose their trailing white space, others keep it', () => {
    expect(turns({ role: 'user', content: 'a ' }, { role: 'assistant', content: 'Sure:\n' })).toEqual([
      { role: 'user', content: 'a ' },
      { role: 'assistant', content: 'Sure:' },
    ])
    expect(
      turns({ role: 'user', content: 'a' }, { role: 'assistant', content: 'b ' }, { role: 'user', content: 'c' }),
    ).toContainEqual({
      role: 'assistant',
      content: 'b ',
    })
  })

  it('with a cache mark on the message mark their last block', () => {
    expect(
      turns({
        role: 'user',
        content: [
          { type: 'text', text: 'a' },
          { type: 'text', text: 'b' },
        ],
        cache_control: { type: 'ephemeral' },
      }),
    ).toEqual([
      {
        role: 'user',
        content: [
          { type: 'text', text: 'a' },
          { type: 'text', text: 'b', cache_control: { type: 'ephemeral' } },
        ],
      },
    ])
  })

  it('of a role nobody knows are refused by place', () => {
    const error = refusal({ role: 'user', content: 'a' }, { role: 'narrator', content: 'b' })
    expect([error.code, error.param]).toEqual(['bad_request', 'messages[1].role'])
  })
})

describe('tool calls and results', () => {
  it('of a parallel loop become one assistant and one user turn, results first', () => {
    expect(
      turns(
        { role: 'user', content: 'Weather?' },
        { role: 'assistant', content: 'Looking.', tool_calls: [call('a', 'f', '{"x":1}'), call('b', 'f', '')] },
        { role: 'tool', tool_call_id: 'a', content: 'sunny' },
        {
          role: 'tool',
          tool_call_id: 'b',
          content: [
            { type: 'text', text: 'map' },
            { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } },
          ],
        },
        { role: 'user', content: 'And?' },
      ),
    ).toEqual([
      { role: 'user', content: 'Weather?' },
      {
        role: 'assistant',
        content: [
          { type: 'text', text: 'Looking.' },
          { type: 'tool_use', id: 'a', name: 'f', input: { x: 1 } },
          { type: 'tool_use', id: 'b', name: 'f', input: {} },
        ],
      },
      {
        role: 'user',
        content: [
          { type: 'tool_result', tool_use_id: 'a', content: 'sunny' },
          {
            type: 'tool_result',
            tool_use_id: 'b',
            content: [
              { type: 'text', text: 'map' },
              { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AAAA' } },
            ],
          },
          { type: 'text', text: 'And?' },
        ],
      },
    ])
  })

  it('with ids the provider refuses get clean ones, alike on both sides and distinct', () => {
    const messages = turns(
      { role: 'user', content: 'x' },
      { role: 'assistant', tool_calls: [call('call:1', 'f', '{}'), call('call.1', 'f', '{}')] },
      { role: 'tool', tool_call_id: 'call.1', content: 'second' },
      { role: 'tool', tool_call_id: 'call:1', content: 'first' },
    )
    expect(messages).toEqual([
      { role: 'user', content: 'x' },
      {
        role: 'assistant',
        content: [
          { type: 'tool_use', id: 'call_1', name: 'f', input: {} },
          { type: 'tool_use', id: 'call_1_2', name: 'f', input: {} },
        ],
      },
      {
        role: 'user',
        content: [
          { type: 'tool_result', tool_use_id: 'call_1_2', content: 'second' },
          { type: 'tool_result', tool_use_id: 'call_1', content: 'first' },
        ],
      },
    ])
  })

  it('keep error marks and cache marks', () => {
    expect(
      turns(
        { role: 'user', content: 'x' },
        { role: 'assistant', tool_calls: [call('a', 'f', '{}')] },
        { role: 'tool', tool_call_id: 'a', content: '', is_error: true, cache_control: { type: 'ephemeral' } },
      ),
    ).toContainEqual({
      role: 'user',
      content: [{ type: 'tool_result', tool_use_id: 'a', content: '', is_error: true, cache_control: { type: 'ephemeral' } }],
    })
  })

  it('whose arguments are no JSON object are refused by message and index', () => {
    const bad = (args: string) =>
      refusal({ role: 'user', content: 'x' }, { role: 'assistant', tool_calls: [call('a', 'f', '{}'), call('b', 'f', args)] })
    expect([bad('{"x":').code, bad('{"x":').status, bad('{"x":').param]).toEqual([
      'bad_request',
      400,
      'messages[1].tool_calls[1].function.arguments',
    ])
    expect(bad('{"x":').message).toContain('messages[1].tool_calls[1].function.arguments is not valid JSON')
    expect(bad('[1]').message).toContain('must be a JSON object')
  })

  it('without ids are refused', () => {
    expect(refusal({ role: 'tool', content: 'x' }).param).toBe('messages[0].tool_call_id')
  })

  it('in the form before tools are carried too', () => {
    expect(
      turns(
        { role: 'user', content: 'x' },
        { role: 'assistant', content: null, function_call: { name: 'f', arguments: '{"a":1}' } },
        { role: 'function', name: 'f', content: 'done' },
      ),
    ).toEqual([
      { role: 'user', content: 'x' },
      { role: 'assistant', content: [{ type: 'tool_use', id: 'function_1', name: 'f', input: { a: 1 } }] },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'function_1', content: 'done' }] },
    ])
  })
})

describe('thinking', () => {
  it('goes back first and unchanged; without a signature it is left out', () => {
    expect(
      turns(
        { role: 'user', content: 'x' },
        {
          role: 'assistant',
          content: 'y',
          reasoning_content: 'hm ',
          thinking_blocks: [
            { type: 'thinking', thinking: 'hm ', signature: 'sig==' },
            { type: 'redacted_thinking', data: 'opaque' },
            { type: 'thinking', thinking: 'of another provider' },
          ],
          tool_calls: [call('a', 'f', '{}')],
        },
        { role: 'tool', tool_call_id: 'a', content: 'r' },
      ),
    ).toContainEqual({
      role: 'assistant',
      content: [
        { type: 'thinking', thinking: 'hm ', signature: 'sig==' },
        { type: 'redacted_thinking', data: 'opaque' },
        { type: 'text', text: 'y' },
        { type: 'tool_use', id: 'a', name: 'f', input: {} },
      ],
    })
  })

  it('and what server tools did go back before the text', () => {
    const used = { type: 'server_tool_use', id: 'srvtoolu_1', name: 'web_search', input: { query: 'q' } }
    const found = { type: 'web_search_tool_result', tool_use_id: 'srvtoolu_1', content: [] }
    expect(
      turns(
        { role: 'user', content: 'x' },
        { role: 'assistant', content: 'y', provider_specific_fields: { content_blocks: [used, found] } },
        { role: 'user', content: 'z' },
      ),
    ).toContainEqual({ role: 'assistant', content: [used, found, { type: 'text', text: 'y' }] })
  })
})

describe('parts', () => {
  const part = (content: Record<string, unknown> & { type: string }) => {
    const [turn] = encode({ messages: [{ role: 'user', content: [{ type: 'text', text: 't' }, content] }] }).messages
    return Array.isArray(turn?.content) ? turn.content[1] : undefined
  }
  const pdf = Buffer.from('%PDF').toString('base64')

  it.each([
    [
      'a PNG as data URI',
      { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } },
      { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AAAA' } },
    ],
    [
      'a jpg by its usual misnomer',
      { type: 'image_url', image_url: 'data:image/jpg;base64,AAAA' },
      { type: 'image', source: { type: 'base64', media_type: 'image/jpeg', data: 'AAAA' } },
    ],
    [
      'an image whose type is hinted',
      { type: 'image_url', image_url: { url: 'data:;base64,AAAA', format: 'image/webp' } },
      { type: 'image', source: { type: 'base64', media_type: 'image/webp', data: 'AAAA' } },
    ],
    [
      'an image by URL',
      { type: 'image_url', image_url: { url: 'https://a.example/b.png', detail: 'high' } },
      { type: 'image', source: { type: 'url', url: 'https://a.example/b.png' } },
    ],
    [
      'a URL hinted to be a PDF',
      { type: 'image_url', image_url: { url: 'https://a.example/b', format: 'application/pdf' } },
      { type: 'document', source: { type: 'url', url: 'https://a.example/b' } },
    ],
    [
      'a cached image',
      { type: 'image_url', image_url: 'https://a.example/b.png', cache_control: { type: 'ephemeral' } },
      { type: 'image', source: { type: 'url', url: 'https://a.example/b.png' }, cache_control: { type: 'ephemeral' } },
    ],
    [
      'a PDF in an image part',
      { type: 'image_url', image_url: `data:application/pdf;base64,${pdf}` },
      { type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: pdf } },
    ],
    [
      'a PDF file',
      { type: 'file', file: { file_data: `data:application/pdf;base64,${pdf}`, filename: 'a.pdf' } },
      { type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: pdf }, title: 'a.pdf' },
    ],
    [
      'a PDF file as bare base64',
      { type: 'file', file: { file_data: pdf } },
      { type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: pdf } },
    ],
    [
      'a text file',
      { type: 'file', file: { file_data: 'data:text/csv;base64,YSxi', filename: 'a.csv' } },
      { type: 'document', source: { type: 'text', media_type: 'text/plain', data: 'a,b' }, title: 'a.csv' },
    ],
    [
      'a text file that is not base64',
      { type: 'file', file: { file_data: 'data:text/plain,a%20b' } },
      { type: 'document', source: { type: 'text', media_type: 'text/plain', data: 'a b' } },
    ],
    [
      'a file by URL',
      { type: 'file', file: { file_id: 'https://a.example/b.pdf' } },
      { type: 'document', source: { type: 'url', url: 'https://a.example/b.pdf' } },
    ],
    [
      'an uploaded file',
      { type: 'file', file: { file_id: 'file_01' }, citations: { enabled: true } },
      { type: 'document', source: { type: 'file', file_id: 'file_01' }, citations: { enabled: true } },
    ],
    [
      'an uploaded image',
      { type: 'file', file: { file_id: 'file_01', format: 'image/png' } },
      { type: 'image', source: { type: 'file', file_id: 'file_01' } },
    ],
    [
      'an explicit breakpoint of OpenAI',
      { type: 'text', text: 'x', prompt_cache_breakpoint: { mode: 'explicit' } },
      { type: 'text', text: 'x', cache_control: { type: 'ephemeral' } },
    ],
    [
      'a block of Anthropic’s own',
      { type: 'search_result', source: 's', title: 't', content: [] },
      { type: 'search_result', source: 's', title: 't', content: [] },
    ],
  ])('carry %s', (_name, given, expected) => {
    expect(part(given)).toEqual(expected)
  })

  it.each([
    [{ type: 'input_audio', input_audio: { data: 'AAAA', format: 'wav' } }, 'messages[0].content[1] is of type input_audio'],
    [{ type: 'image_url', image_url: { url: 'gs://bucket/a.png' } }, 'messages[0].content[1].image_url.url'],
    [{ type: 'file', file: { file_data: 'data:application/zip;base64,AAAA' } }, 'application/zip'],
    [{ type: 'file', file: {} }, 'messages[0].content[1].file needs'],
  ])('that cannot be carried name themselves: %j', (given, named) => {
    const error = refusal({ role: 'user', content: [{ type: 'text', text: 't' }, given] })
    expect(error.code).toBe('bad_request')
    expect(error.message).toContain(named)
  })
})
