import { idOf, passThroughEndpoint } from '../../shared/config/pass-through.ts'
import { GatewayError } from '../../shared/errors.ts'
import { writerOf } from '../identity/writer.ts'
import { shownField } from '../models/changeable.ts'
import type { Configuration } from '../models/configuration.ts'
import { type Route, route, z } from './route.ts'

const FIELD = 'pass_through_endpoints'
const PATH = '/config/pass_through_endpoint'
const tag = 'pass-through'
const output = z.object({ endpoints: z.array(z.looseObject({ id: z.string(), path: z.string(), target: z.string() })) })

type Endpoint = z.output<typeof passThroughEndpoint>

/** /config/pass_through_endpoint: paths of the operator's own, over those of the configuration file. */
export function passThroughRoutes({ configuration }: { configuration: Configuration }): Route[] {
  const current = (): Endpoint[] => {
    const { pass_through_endpoints: list } = configuration.current().general_settings
    return (list ?? []).map((one) => ({ ...one, id: idOf(one) }))
  }
  const shown = (list: readonly Endpoint[]) => ({ endpoints: shownField(FIELD, list) as z.output<typeof output>['endpoints'] })
  const store = (list: readonly Endpoint[], call: Parameters<typeof writerOf>[0]) =>
    configuration.change({ general_settings: { [FIELD]: list.length === 0 ? null : list } }, writerOf(call))
  const find = (id: string): Endpoint => {
    const found = current().find((one) => one.id === id)
    if (found === undefined)
      throw new GatewayError('not_found', `There is no pass-through endpoint ${id}.`, { param: 'endpoint_id' })
    return found
  }
  return [
    route({
      method: 'GET',
      path: PATH,
      tag,
      summary: 'Pass-through endpoints, their headers hidden',
      access: 'admin',
      input: z.object({ endpoint_id: z.string().nullish() }),
      output,
      handle: ({ input: { endpoint_id: id } }) => shown(id == null ? current() : [find(id)]),
    }),
    route({
      method: 'POST',
      path: PATH,
      tag,
      summary: 'Add a pass-through endpoint, on every process within a second',
      access: 'admin',
      input: passThroughEndpoint,
      output,
      async handle(call) {
        const added = { ...call.input, id: idOf(call.input) }
        await store([...current(), added], call)
        return shown([added])
      },
    }),
    route({
      method: 'POST',
      path: `${PATH}/{endpoint_id}`,
      tag,
      summary: 'Change a pass-through endpoint; fields that are not given stay',
      access: 'admin',
      input: passThroughEndpoint.partial().extend({ endpoint_id: z.string() }),
      output,
      async handle(call) {
        const { endpoint_id: id, id: _, ...fields } = call.input
        const changed = { ...find(id), ...fields, id } as Endpoint
        await store(
          current().map((one) => (one.id === id ? changed : one)),
          call,
        )
        return shown([changed])
      },
    }),
    route({
      method: 'DELETE',
      path: PATH,
      tag,
      summary: 'Take a pass-through endpoint away',
      access: 'admin',
      input: z.object({ endpoint_id: z.string() }),
      output,
      async handle(call) {
        const gone = find(call.input.endpoint_id)
        await store(
          current().filter(({ id }) => id !== gone.id),
          call,
        )
        return shown([gone])
      },
    }),
  ]
}
