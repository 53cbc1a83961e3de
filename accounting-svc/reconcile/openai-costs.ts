import { amountOf, arrayOf, bucketsOf, createCollector, dayOfSeconds, objectOf, type ReadExport, textOf } from './cost-export.ts'

/**
 * Pages of GET /v1/organization/costs (https://platform.openai.com/docs/api-reference/usage/costs): buckets of a UTC day, results with
 * `amount.value` in dollars. Grouped by line item, the model is what stands in front of the comma: `gpt-4o-2024-08-06, cached input`.
 */
export const readOpenaiCosts: ReadExport = (data) => {
  const collected = createCollector()
  for (const { bucket, place } of bucketsOf(data)) {
    const date = dayOfSeconds(bucket['start_time'], `${place}.start_time`)
    for (const [index, result] of arrayOf(bucket['results'], `${place}.results`).entries()) {
      const here = `${place}.results[${index}]`
      const { amount, line_item: lineItem, api_key_id: key } = objectOf(result, here)
      const { value, currency } = objectOf(amount, `${here}.amount`)
      const model = textOf(lineItem).split(', ')[0] ?? ''
      collected.add({ date, model, key: textOf(key), measure: 'cost', amount: amountOf(value, `${here}.amount.value`) }, currency)
    }
  }
  return collected
}
