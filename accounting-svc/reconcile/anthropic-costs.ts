import { amountOf, arrayOf, bucketsOf, createCollector, dayOfTime, objectOf, type ReadExport, textOf } from './cost-export.ts'

/**
 * Pages of GET /v1/organizations/cost_report (https://platform.claude.com/docs/en/api/admin/cost_report): buckets of a UTC day, results
 * whose `amount` is a decimal text in cents. The model is only there when grouped by description; what is no tokens has a `cost_type` instead.
 */
export const readAnthropicCosts: ReadExport = (data) => {
  const collected = createCollector()
  for (const { bucket, place } of bucketsOf(data)) {
    const date = dayOfTime(bucket['starting_at'], `${place}.starting_at`)
    for (const [index, result] of arrayOf(bucket['results'], `${place}.results`).entries()) {
      const here = `${place}.results[${index}]`
      const { amount, currency, model, cost_type: costType } = objectOf(result, here)
      const name = textOf(model) || textOf(costType)
      collected.add({ date, model: name, key: '', measure: 'cost', amount: amountOf(amount, `${here}.amount`, -2) }, currency)
    }
  }
  return collected
}
