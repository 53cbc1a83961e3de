import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { scaleDecimal } from '../../shared/money.ts'
import { csvField } from '../routes/csv.ts'
import { parseCsv } from './csv-costs.ts'
import { EXPORTS } from './index.ts'

const dollars = (text: string): bigint => scaleDecimal(text, 18)
const read = (format: keyof typeof EXPORTS, data: unknown, columns = {}) => EXPORTS[format](data, { columns })

describe('OpenAI costs', () => {
  const page = (results: unknown[]) => ({
    object: 'page',
    data: [{ object: 'bucket', start_time: 1_730_419_200, end_time: 1_730_505_600, results }],
    has_more: false,
    next_page: null,
  })
  const result = (value: unknown, lineItem: string | null, more = {}) => ({
    object: 'organization.costs.result',
    amount: { value, currency: 'usd' },
    line_item: lineItem,
    project_id: null,
    ...more,
  })

  it('are lines of a day, the model in front of the kind of token, and the key', () => {
    expect(
      read('openai_costs', [
        page([result(0.06, 'gpt-4o-2024-08-06, cached input', { api_key_id: 'key_1' }), result('1.5', null)]),
        page([]),
      ]).lines,
    ).toEqual([
      { date: '2024-11-01', model: 'gpt-4o-2024-08-06', key: 'key_1', measure: 'cost', amount: dollars('0.06') },
      { date: '2024-11-01', model: '', key: '', measure: 'cost', amount: dollars('1.5') },
    ])
  })

  it('are read through their digits', () => {
    const [line] = read('openai_costs', page([result('0.1234567890123456785', 'x')])).lines
    // Half of the last place goes to the even neighbour.
    expect(line?.amount).toBe(123_456_789_012_345_678n)
    expect(read('openai_costs', page([result(1.1e-7, 'x')])).lines[0]?.amount).toBe(110_000_000_000n)
  })

  it('in other currencies stay apart', () => {
    const { lines, otherCurrencies } = read('openai_costs', page([{ ...result(2, 'x'), amount: { value: 2, currency: 'eur' } }]))
    expect(lines).toEqual([])
    expect([...otherCurrencies]).toEqual([['EUR', dollars('2')]])
  })

  it('that do not fit are refused, saying where', () => {
    expect(() => read('openai_costs', { data: [{ start_time: 'x', results: [] }] })).toThrow(
      'data.data[0].start_time: expected Unix seconds.',
    )
    expect(() => read('openai_costs', [page([result('n/a', 'x')])])).toThrow(
      'data[0].data[0].results[0].amount.value: expected a decimal number.',
    )
    expect(() => read('openai_costs', 'text')).toThrow('data: expected an object.')
  })
})

describe('Anthropic costs', () => {
  it('are in cents', () => {
    const results = [
      {
        currency: 'USD',
        amount: '123.45',
        workspace_id: null,
        description: 'd',
        cost_type: 'tokens',
        model: 'claude-opus-4-20250514',
      },
      { currency: 'USD', amount: '10', cost_type: 'web_search', model: null },
    ]
    const bucket = { starting_at: '2025-08-01T00:00:00Z', ending_at: '2025-08-02T00:00:00Z', results }
    expect(read('anthropic_costs', { data: [bucket], has_more: false, next_page: null }).lines).toEqual([
      { date: '2025-08-01', model: 'claude-opus-4-20250514', key: '', measure: 'cost', amount: dollars('1.2345') },
      { date: '2025-08-01', model: 'web_search', key: '', measure: 'cost', amount: dollars('0.1') },
    ])
  })
})

describe('Anthropic usage', () => {
  it('is tokens of each kind by model and key', () => {
    const results = [
      {
        uncached_input_tokens: 1500,
        cache_creation: { ephemeral_1h_input_tokens: 1000, ephemeral_5m_input_tokens: 500 },
        cache_read_input_tokens: 200,
        output_tokens: 50,
        server_tool_use: { web_search_requests: 10 },
        api_key_id: 'apikey_1',
        model: 'claude-opus-4-20250514',
      },
    ]
    const { lines } = read('anthropic_usage', { data: [{ starting_at: '2025-08-01T00:00:00Z', results }] })
    expect(lines.map((line) => [line.measure, line.amount, line.key])).toEqual([
      ['uncached_input_tokens', 1500n, 'apikey_1'],
      ['cache_read_tokens', 200n, 'apikey_1'],
      ['cache_write_tokens', 1500n, 'apikey_1'],
      ['output_tokens', 50n, 'apikey_1'],
    ])
  })
})

describe('CSV costs', () => {
  it('are found by usual names or by those given', () => {
    const text =
      '\uFEFFDay,Model,Cost (USD),Key\r\n2026-01-31,"gpt-4o, input","$1,234.50",k\r\n\r\n2026-01-31T05:00:00Z,x,-0.5,\r\n'
    expect(read('csv', text, { cost: 'cost (usd)' }).lines).toEqual([
      { date: '2026-01-31', model: 'gpt-4o', key: 'k', measure: 'cost', amount: dollars('1234.5') },
      { date: '2026-01-31', model: 'x', key: '', measure: 'cost', amount: dollars('-0.5') },
    ])
    expect(read('csv', 'start_time,amount_value,amount_currency\n1730419200,1,usd').lines[0]?.date).toBe('2024-11-01')
  })

  it('that do not fit are refused, saying which line and column', () => {
    expect(() => read('csv', 'date,cost\n2026-01-31,abc')).toThrow('data line 2, cost: expected a decimal number.')
    expect(() => read('csv', 'date,cost\n2026-02-30,1')).toThrow('data line 2, date: expected YYYY-MM-DD.')
    expect(() => read('csv', 'date,cost\n1/2/2026,1')).toThrow('data line 2, date: expected YYYY-MM-DD.')
    expect(() => read('csv', 'date,cost\n2026-01-31')).toThrow('data line 2: expected 2 fields as in the header, found 1.')
    expect(() => read('csv', 'date,price\n')).toThrow('columns.cost: the header has no column cost')
    expect(() => read('csv', 'date,cost\n', { model: 'm' })).toThrow('columns.model: the header has no column of that name.')
    expect(() => read('csv', 'date,cost\n2026-01-31,"1')).toThrow('data line 2: a quote is out of place.')
    expect(() => read('csv', '')).toThrow('data: the file is empty.')
  })

  it('survive what may stand in a field', () => {
    // What formulas begin with gets an apostrophe when we write it; that is another test.
    const field = fc.string().filter((text) => !/^[=+\-@\t\r\n]/.test(text))
    fc.assert(
      fc.property(
        fc.array(fc.array(field, { minLength: 2, maxLength: 4 }), { minLength: 1 }),
        fc.constantFrom('\n', '\r\n'),
        (rows, end) => {
          const text = rows.map((row) => row.map(csvField).join(',') + end).join('')
          expect(parseCsv(text).map((record) => record.fields)).toEqual(rows)
        },
      ),
    )
  })
})
