import { arrayOf, bucketsOf, countOf, createCollector, dayOfTime, objectOf, type ReadExport, textOf } from './cost-export.ts'

/**
 * Pages of GET /v1/organizations/usage_report/messages (https://platform.claude.com/docs/en/api/admin/usage_report): tokens of each model
 * and API key. There is no money in it, and no API key in the cost report: this one finds the key behind a difference of that one.
 */
export const readAnthropicUsage: ReadExport = (data) => {
  const collected = createCollector()
  for (const { bucket, place } of bucketsOf(data)) {
    const date = dayOfTime(bucket['starting_at'], `${place}.starting_at`)
    for (const [index, result] of arrayOf(bucket['results'], `${place}.results`).entries()) {
      const here = `${place}.results[${index}]`
      const usage = objectOf(result, here)
      const written = usage['cache_creation'] == null ? {} : objectOf(usage['cache_creation'], `${here}.cache_creation`)
      const count = (from: Record<string, unknown>, field: string): bigint => countOf(from[field], `${here}.${field}`)
      const owner = { date, model: textOf(usage['model']), key: textOf(usage['api_key_id']) }
      collected.lines.push(
        { ...owner, measure: 'uncached_input_tokens', amount: count(usage, 'uncached_input_tokens') },
        { ...owner, measure: 'cache_read_tokens', amount: count(usage, 'cache_read_input_tokens') },
        {
          ...owner,
          measure: 'cache_write_tokens',
          amount: count(written, 'ephemeral_5m_input_tokens') + count(written, 'ephemeral_1h_input_tokens'),
        },
        { ...owner, measure: 'output_tokens', amount: count(usage, 'output_tokens') },
      )
    }
  }
  return collected
}
