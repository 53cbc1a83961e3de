import type { Bus } from '../../shared/bus/bus.ts'
import { GatewayError } from '../../shared/errors.ts'
import { writerOf } from '../identity/writer.ts'
import { changeableNames, SECTIONS, shownField } from '../models/changeable.ts'
import type { Configuration } from '../models/configuration.ts'
import { routerFields, routerValues, STRATEGY_DESCRIPTIONS } from '../models/router-fields.ts'
import type { RouterStates } from '../models/router-states.ts'
import type { Runtime } from '../models/runtime.ts'
import { map } from './field-types.ts'
import { type Route, route, z } from './route.ts'
import { routerStateObject } from './router-state.ts'

export interface RouterRoutesDeps {
  configuration: Configuration
  routerStates: RouterStates
  runtime: Runtime
  bus: Pick<Bus, 'fleet'>
}

const tag = 'router'
const described = z.looseObject({
  field_name: z.string(),
  field_type: z.string(),
  field_description: z.string(),
  field_default: z.unknown(),
  options: z.array(z.string()).nullable(),
  section: z.string(),
})
const changed = z.object({ message: z.string(), warnings: z.array(z.string()) })

/** /config/update and /router/…: how calls are routed, changed and watched while the gateway runs. */
export function routerRoutes(deps: RouterRoutesDeps): Route[] {
  const { configuration, routerStates, runtime } = deps
  const section = (name: string) => map().nullish().describe(`Fields of ${name}; null takes a stored one away`)
  return [
    route({
      method: 'POST',
      path: '/config/update',
      tag,
      summary: 'Set fields over the configuration file, on every process within a second',
      access: 'admin',
      input: z.looseObject({
        litellm_settings: section('litellm_settings'),
        router_settings: section('router_settings'),
        general_settings: section('general_settings'),
        turnpike_settings: section('turnpike_settings'),
      }),
      output: changed,
      async handle(call) {
        const other = Object.keys(call.input).find((name) => !SECTIONS.some((known) => known === name))
        if (other !== undefined && call.input[other] != null) throw fileOnly(other)
        const changes = Object.fromEntries(
          SECTIONS.flatMap((name) => (call.input[name] == null ? [] : [[name, call.input[name]]])),
        )
        const warnings = await configuration.change(changes, writerOf(call))
        return { message: 'Config updated successfully', warnings }
      },
    }),
    ...fieldRoutes(configuration),
    route({
      method: 'GET',
      path: '/router/settings',
      tag,
      summary: 'The router’s settings in force, each with what it means',
      access: 'admin',
      input: z.object({}),
      output: z.object({
        fields: z.array(described),
        current_values: map(),
        routing_strategy_descriptions: z.record(z.string(), z.string()),
      }),
      handle() {
        const values = routerValues(configuration, runtime.settings)
        const stored = configuration.stored()
        const fields = routerFields().map((field) => ({
          ...field,
          field_value: values[field.field_name],
          stored_in_db: stored[field.section]?.includes(field.field_name) ?? false,
        }))
        return { fields, current_values: values, routing_strategy_descriptions: STRATEGY_DESCRIPTIONS }
      },
    }),
    route({
      method: 'GET',
      path: '/router/fields',
      tag,
      summary: 'The router’s settings, each with what it means',
      access: 'admin',
      input: z.object({}),
      output: z.object({ fields: z.array(described), routing_strategy_descriptions: z.record(z.string(), z.string()) }),
      handle: () => ({ fields: routerFields(), routing_strategy_descriptions: STRATEGY_DESCRIPTIONS }),
    }),
    route({
      method: 'GET',
      path: '/router/state',
      tag,
      summary: 'What routers know of the deployments now: load, latency, cooldowns, health',
      access: 'admin',
      input: z.object({ model: z.string().optional().describe('Of this model group only') }),
      output: z.object({
        routers: z.array(z.looseObject({ id: z.string() })),
        deployments: z.array(z.looseObject({ id: z.string() })),
      }),
      async handle({ input }) {
        const deployments = runtime.deployments.filter(
          ({ hidden, modelGroup }) => hidden !== true && (input.model === undefined || input.model === modelGroup),
        )
        return routerStateObject(deps.bus.fleet(), await routerStates.ask(), deployments)
      },
    }),
  ]
}

const FIELD = { config_type: z.literal('general_settings').nullish() }

/** One field of `general_settings` at a time, as LiteLLM's dashboard sets them. */
function fieldRoutes(configuration: Configuration): Route[] {
  const shown = (name: string) => ({
    field_name: name,
    field_value: shownField(name, (configuration.current().general_settings as Record<string, unknown>)[name] ?? null),
    stored_in_db: configuration.stored().general_settings?.includes(name) ?? false,
  })
  const output = z.looseObject({ field_name: z.string(), field_value: z.unknown(), stored_in_db: z.boolean() })
  const set = (name: string, value: unknown, call: Parameters<typeof writerOf>[0]) =>
    configuration.change({ general_settings: { [name]: value } }, writerOf(call))
  return [
    route({
      method: 'POST',
      path: '/config/field/update',
      tag,
      summary: 'Set one field of general_settings over the configuration file',
      access: 'admin',
      input: z.object({ field_name: z.string(), field_value: z.unknown(), ...FIELD }),
      output: changed,
      async handle(call) {
        const warnings = await set(call.input.field_name, call.input.field_value, call)
        return { message: 'Config updated successfully', warnings }
      },
    }),
    route({
      method: 'POST',
      path: '/config/field/delete',
      tag,
      summary: 'Take a stored field of general_settings away: the configuration file counts again',
      access: 'admin',
      input: z.object({ field_name: z.string(), ...FIELD }),
      output: changed,
      async handle(call) {
        const warnings = await set(call.input.field_name, null, call)
        return { message: 'Config updated successfully', warnings }
      },
    }),
    route({
      method: 'GET',
      path: '/config/field/info',
      tag,
      summary: 'One field of general_settings in force',
      access: 'admin',
      input: z.object({ field_name: z.string() }),
      output,
      handle({ input }) {
        if (changeableNames('general_settings').includes(input.field_name)) return shown(input.field_name)
        const text = `general_settings.${input.field_name} is not a field that can be changed here.`
        throw new GatewayError('not_found', text, { param: 'field_name' })
      },
    }),
    route({
      method: 'GET',
      path: '/config/list',
      tag,
      summary: 'Fields of general_settings that can be changed here',
      access: 'admin',
      input: z.object(FIELD),
      output: z.array(output),
      handle: () => changeableNames('general_settings').map(shown),
    }),
  ]
}

function fileOnly(name: string): GatewayError {
  const text = `${name} cannot be changed while the gateway runs; what can be is in ${SECTIONS.join(', ')}.`
  return new GatewayError('bad_request', text, { type: 'bad_request_error', param: name })
}
