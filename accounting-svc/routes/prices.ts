import { NO_TOKENS } from '../../proto/usage.ts'
import type { Catalog } from '../../shared/catalog/catalog.ts'
import type { Clock } from '../../shared/clock.ts'
import type { Config } from '../../shared/config/config.ts'
import { costOf } from '../../shared/cost.ts'
import { GatewayError } from '../../shared/errors.ts'
import { dollars, dollarsPerToken } from '../dollars.ts'
import { writerOf } from '../identity/writer.ts'
import { estimate, type Found, findPrices, roughInput, usageOfAnswer } from '../models/estimate.ts'
import type { PriceBook } from '../models/price-book.ts'
import type { PriceOverrides } from '../models/prices.ts'
import type { Runtime } from '../models/runtime.ts'
import type { PriceOverrideRow } from '../sql/prices.ts'
import { type Route, route, z } from './route.ts'

export interface PriceRoutesDeps {
  overrides: PriceOverrides
  book: PriceBook
  runtime: Runtime
  catalog: Catalog
  clock: Pick<Clock, 'now'>
  config: () => Config
}

const tag = 'prices'
const shown = z.object({
  id: z.string(),
  provider: z.string(),
  model: z.string(),
  rate_version: z.string().describe('Stands beside every ledger entry priced by it'),
  effective_from: z.iso.datetime(),
  prices: z.looseObject({}).describe('Nano-dollars per million tokens or units, per request and per tool call'),
  created_at: z.iso.datetime(),
  created_by: z.string().nullable(),
})
const tokens = () => z.number().int().min(0).max(1_000_000_000)
const requests = () => z.number().int().min(0).max(1_000_000_000).nullish()

/** Prices set by hand, and what calls would cost. */
export function priceRoutes(deps: PriceRoutesDeps): Route[] {
  const { overrides, clock } = deps
  const find = (model: string, models: readonly string[]): Found => {
    const found = findPrices(deps, model, models, clock.now())
    if (found === null) {
      throw new GatewayError('not_found', `No prices are known for the model "${model.slice(0, 200)}".`, { param: 'model' })
    }
    return found
  }
  return [
    route({
      method: 'POST',
      path: '/model/prices',
      tag,
      summary: 'Set the prices of a provider’s model from a moment on, under the names of the configuration',
      access: 'admin',
      input: z.looseObject({
        model: z.string().min(1).describe('provider/model, or a name that tells its provider'),
        provider: z.string().nullish(),
        effective_from: z.iso.datetime({ offset: true }).nullish().describe('Default now'),
        input_cost_per_token: z.union([z.number(), z.string()]).nullish().describe('Dollars; so with every other price'),
        output_cost_per_token: z.union([z.number(), z.string()]).nullish(),
      }),
      output: shown,
      async handle(call) {
        const { model, provider, effective_from, ...fields } = call.input
        const effectiveFrom = effective_from == null ? undefined : Date.parse(effective_from)
        const row = await overrides.set({ model, provider: provider ?? undefined, effectiveFrom, fields }, writerOf(call))
        return overrideObject(row)
      },
    }),
    route({
      method: 'GET',
      path: '/model/prices',
      tag,
      summary: 'The prices that were set, oldest first',
      access: 'admin',
      input: z.object({ provider: z.string().optional(), model: z.string().optional() }),
      output: z.array(shown),
      handle: async ({ input }) => (await overrides.list(input)).map(overrideObject),
    }),
    route({
      method: 'DELETE',
      path: '/model/prices/{id}',
      tag,
      summary: 'Take prices away; those that held before them hold again',
      access: 'admin',
      input: z.looseObject({ id: z.string() }),
      output: shown,
      handle: async (call) => overrideObject(await overrides.remove(call.input.id, writerOf(call))),
    }),
    route({
      method: 'POST',
      path: '/spend/calculate',
      tag,
      summary: 'What an answer costs, or what messages would cost to send (their tokens estimated)',
      access: 'key',
      input: z.looseObject({
        model: z.string().nullish(),
        messages: z.array(z.unknown()).nullish(),
        completion_response: z.looseObject({}).nullish(),
      }),
      output: z.object({ cost: z.number().describe('Dollars') }),
      handle({ input, identity }) {
        const { model, messages, completion_response: answer } = input
        if (answer != null) {
          const name = model ?? answer['model']
          const usage = answer['usage']
          if (typeof name !== 'string') throw missing('completion_response.model')
          if (typeof usage !== 'object' || usage === null) throw missing('completion_response.usage')
          const tier = answer['service_tier']
          const options = { tier: typeof tier === 'string' ? tier : undefined }
          return {
            cost: dollars(
              costOf(usageOfAnswer(usage as Record<string, unknown>), find(name, identity.models).prices, options).total,
            ),
          }
        }
        if (model == null) throw missing('model')
        if (messages == null) throw missing('messages')
        const { prices } = find(model, identity.models)
        return { cost: dollars(costOf({ ...NO_TOKENS, input: roughInput(messages) }, prices).total) }
      },
    }),
    route({
      method: 'POST',
      path: '/cost/estimate',
      tag,
      summary: 'What calls of so many tokens cost, each and per day and month',
      access: 'key',
      input: z.object({
        model: z.string(),
        input_tokens: tokens(),
        output_tokens: tokens(),
        num_requests_per_day: requests(),
        num_requests_per_month: requests(),
      }),
      output: z.looseObject({ model: z.string(), cost_per_request: z.number(), provider: z.string() }),
      handle: ({ input, identity }) => estimateObject(input, find(input.model, identity.models)),
    }),
    route({
      method: 'GET',
      path: '/config/cost_discount_config',
      tag,
      summary: 'Share taken off, by provider; set in the configuration',
      access: 'admin',
      input: z.object({}),
      output: z.object({ values: z.record(z.string(), z.number()) }),
      handle: () => ({ values: deps.config().litellm_settings.cost_discount_config ?? {} }),
    }),
    route({
      method: 'GET',
      path: '/config/cost_margin_config',
      tag,
      summary: 'What is added, by provider or `global`; set in the configuration',
      access: 'admin',
      input: z.object({}),
      output: z.object({ values: z.record(z.string(), z.unknown()) }),
      handle: () => ({ values: deps.config().litellm_settings.cost_margin_config ?? {} }),
    }),
  ]
}

function overrideObject(row: PriceOverrideRow): z.output<typeof shown> {
  return {
    id: row.id,
    provider: row.provider,
    model: row.model,
    rate_version: row.prices.rateVersion,
    effective_from: row.effective_from.toISOString(),
    prices: { ...row.prices },
    created_at: row.created_at.toISOString(),
    created_by: row.created_by,
  }
}

interface EstimateInput {
  model: string
  input_tokens: number
  output_tokens: number
  num_requests_per_day?: number | null | undefined
  num_requests_per_month?: number | null | undefined
}

function estimateObject(input: EstimateInput, { provider, prices }: Found): Record<string, unknown> {
  const one = estimate(prices, input.input_tokens, input.output_tokens)
  const times = (count: number | null | undefined, nano: number): unknown =>
    count == null ? null : dollars(BigInt(count) * BigInt(nano))
  const day = input.num_requests_per_day
  const month = input.num_requests_per_month
  return {
    model: input.model,
    input_tokens: input.input_tokens,
    output_tokens: input.output_tokens,
    num_requests_per_day: day ?? null,
    num_requests_per_month: month ?? null,
    cost_per_request: dollars(one.cost.total),
    input_cost_per_request: dollars(one.input),
    output_cost_per_request: dollars(one.output),
    margin_cost_per_request: dollars(one.cost.margin + one.cost.discount),
    daily_cost: times(day, one.cost.total),
    daily_input_cost: times(day, one.input),
    daily_output_cost: times(day, one.output),
    daily_margin_cost: times(day, one.cost.margin + one.cost.discount),
    monthly_cost: times(month, one.cost.total),
    monthly_input_cost: times(month, one.input),
    monthly_output_cost: times(month, one.output),
    monthly_margin_cost: times(month, one.cost.margin + one.cost.discount),
    input_cost_per_token: prices.input === undefined ? null : dollarsPerToken(prices.input),
    output_cost_per_token: prices.output === undefined ? null : dollarsPerToken(prices.output),
    provider,
  }
}

function missing(param: string): GatewayError {
  return new GatewayError('bad_request', `${param} is needed.`, { type: 'bad_request_error', param })
}
