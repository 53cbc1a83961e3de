import { writerOf } from '../identity/writer.ts'
import { FALLBACK_KINDS, type Fallbacks } from '../models/fallbacks.ts'
import { type Route, route, z } from './route.ts'

const kind = () => z.enum(FALLBACK_KINDS).default('general')
const shown = z.object({ model: z.string(), fallback_models: z.array(z.unknown()), fallback_type: z.string() })

/** /fallback: where the calls of one model group go when it fails, set while the gateway runs. */
export function fallbackRoutes(fallbacks: Fallbacks): Route[] {
  const tag = 'router'
  const one = z.object({ model: z.string(), fallback_type: kind() })
  return [
    route({
      method: 'POST',
      path: '/fallback',
      tag,
      summary: 'Set the fallbacks of a model group; they beat those of the configuration file',
      access: 'admin',
      input: z.object({
        model: z.string().min(1),
        fallback_models: z.array(z.string().min(1)).min(1, 'expected at least one model group'),
        fallback_type: kind(),
      }),
      output: shown.extend({ message: z.string() }),
      async handle(call) {
        const { model, fallback_models, fallback_type } = call.input
        await fallbacks.set(model, fallback_type, fallback_models, writerOf(call))
        return { model, fallback_models, fallback_type, message: `The ${fallback_type} fallbacks of ${model} are set.` }
      },
    }),
    route({
      method: 'GET',
      path: '/fallback/{model}',
      tag,
      summary: 'The fallbacks of a model group in force',
      access: 'admin',
      input: one,
      output: shown,
      handle: ({ input: { model, fallback_type } }) => ({
        model,
        fallback_models: fallbacks
          .get(model, fallback_type)
          .map((target) => (target.overrides === undefined ? target.model : { ...target.overrides, model: target.model })),
        fallback_type,
      }),
    }),
    route({
      method: 'DELETE',
      path: '/fallback/{model}',
      tag,
      summary: 'Take away what was set here: the configuration file counts again',
      access: 'admin',
      input: one,
      output: z.object({ model: z.string(), fallback_type: z.string(), message: z.string() }),
      async handle(call) {
        const { model, fallback_type } = call.input
        await fallbacks.remove(model, fallback_type, writerOf(call))
        return { model, fallback_type, message: `The ${fallback_type} fallbacks of ${model} are gone.` }
      },
    }),
  ]
}
