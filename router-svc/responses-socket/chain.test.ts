import { describe, expect, it } from 'vitest'
import type { OutputItem } from '../canonical/responses.ts'
import { RECORD_MAX } from '../responses/store.ts'
import { Chain } from './chain.ts'

const said = (text: string) => ({ type: 'message', role: 'user', content: [{ type: 'input_text', text }] })
const output = [
  { type: 'reasoning', id: 'rs_1', summary: [], status: 'completed' },
  { type: 'reasoning', id: 'rs_2', summary: [], encrypted_content: 'sealed' },
  { type: 'function_call', id: 'fc_1', status: 'completed', call_id: 'c', name: 'f', arguments: '{}' },
  { type: 'web_search_call', id: 'ws_1', status: 'completed' },
] as unknown as OutputItem[]
const CALL = { type: 'function_call', call_id: 'c', name: 'f', arguments: '{}' }
const SEARCH = { type: 'web_search_call', id: 'ws_1', status: 'completed' }

describe('the chain of a connection', () => {
  it('puts what was said before in the place of the id only it knows', () => {
    const chain = new Chain()
    chain.keep({ model: 'm', input: 'one', store: false }, { id: 'r1', output }, false, 10)
    const { body, from } = chain.resolve({ model: 'm', input: 'two', previous_response_id: 'r1' })
    expect(from).toBe('r1')
    expect(body).toEqual({
      model: 'm',
      input: [said('one'), { type: 'reasoning', summary: [], encrypted_content: 'sealed' }, CALL, SEARCH, said('two')],
    })
  })

  it('shows reasoning to nobody but the model whose it is', () => {
    const chain = new Chain()
    chain.keep({ model: 'm', input: 'one' }, { id: 'r1', output }, false, 10)
    const { body } = chain.resolve({ model: 'other', input: 'two', previous_response_id: 'r1' })
    expect(body['input']).toEqual([said('one'), CALL, SEARCH, said('two')])
  })

  it('goes on from a stored response by its id, and adds what was said since', () => {
    const chain = new Chain()
    chain.keep({ model: 'm', input: 'two', previous_response_id: 'stored' }, { id: 'r2', output: [] }, false, 10)
    const second = chain.resolve({ model: 'm', input: 'three', previous_response_id: 'r2' })
    expect(second.body).toEqual({ model: 'm', previous_response_id: 'stored', input: [said('two'), said('three')] })
    chain.keep(second.body, { id: 'r3', output: [] }, false, 10)
    const third = chain.resolve({ model: 'm', input: 'four', previous_response_id: 'r3' })
    expect(third.body).toEqual({
      model: 'm',
      previous_response_id: 'stored',
      input: [said('two'), said('three'), said('four')],
    })
  })

  it('leaves requests that go on from nothing, or from another response, as they are', () => {
    const chain = new Chain()
    chain.keep({ model: 'm', input: 'one' }, { id: 'r1', output: [] }, false, 10)
    for (const body of [
      { model: 'm', input: 'x' },
      { model: 'm', input: 'x', previous_response_id: 'r0' },
    ])
      expect(chain.resolve(body)).toEqual({ body, from: null })
  })

  it.each([
    ['was stored', (chain: Chain) => chain.keep({ input: 'two' }, { id: 'r2', output: [] }, true, 10)],
    ['is too large', (chain: Chain) => chain.keep({ input: 'two' }, { id: 'r2', output: [] }, false, RECORD_MAX + 1)],
    ['failed', (chain: Chain) => chain.forget()],
  ])('forgets the last response when the next %s', (_why, next) => {
    const chain = new Chain()
    chain.keep({ input: 'one' }, { id: 'r1', output: [] }, false, 10)
    next(chain)
    for (const id of ['r1', 'r2']) expect(chain.resolve({ previous_response_id: id }).from).toBeNull()
  })
})
