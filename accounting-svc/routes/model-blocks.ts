import { GatewayError } from '../../shared/errors.ts'
import { writerOf } from '../identity/writer.ts'
import type { ModelBlocks } from '../models/model-blocks.ts'
import { type Route, route, z } from './route.ts'

/** /model/block and /model/unblock: pause a deployment, or every deployment of a model group. */
export function modelBlockRoutes(blocks: ModelBlocks): Route[] {
  const name = z.string().min(1).nullish()
  const at = (path: string, summary: string, blocked: boolean): Route =>
    route({
      method: 'POST',
      path,
      tag: 'models',
      summary,
      access: 'admin',
      input: z.object({
        id: name.describe('Of a deployment, as /model/info shows it'),
        model_id: name.describe('Another name of id'),
        model_name: name.describe('All deployments of this model group'),
        model: name.describe('Another name of model_name'),
      }),
      output: z.object({ data: z.array(z.object({ id: z.string(), model_name: z.string(), blocked: z.boolean() })) }),
      async handle(call) {
        const { id, model_id, model_name, model } = call.input
        const target = { id: id ?? model_id ?? undefined, group: model_name ?? model ?? undefined }
        if (target.id === undefined && target.group === undefined) {
          throw new GatewayError('bad_request', 'id or model_name is needed.', { type: 'bad_request_error', param: 'id' })
        }
        return { data: await blocks.set(target, blocked, writerOf(call)) }
      },
    })
  return [
    at('/model/block', 'Take no calls for a deployment until it is unblocked (503)', true),
    at('/model/unblock', 'Take calls for a deployment again', false),
  ]
}
