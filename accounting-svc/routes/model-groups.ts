import type { Deployment } from '../../proto/deployment.ts'
import { MODEL_QUESTION_LIMIT, type ModelAnswer, type ModelName, type ModelQuestion } from '../../proto/model-facts.ts'
import { WIRE_VERSION } from '../../proto/version.ts'
import type { Bus } from '../../shared/bus/bus.ts'
import type { Catalog } from '../../shared/catalog/catalog.ts'
import { targetOf } from '../../shared/config/target.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { Log } from '../../shared/log.ts'
import { mayCall } from '../../shared/model-access.ts'
import { modelGroup } from '../models/model-groups.ts'
import type { Runtime } from '../models/runtime.ts'
import { type Route, route, z } from './route.ts'

export interface ModelGroupDeps {
  runtime: Runtime
  catalog: Catalog
  bus: Pick<Bus, 'request' | 'subjects'>
  log: Log
}

/** Model groups, and which parameters models take. */
export function modelGroupRoutes({ runtime, catalog, bus, log }: ModelGroupDeps): Route[] {
  /** OpenAI's chat parameters by `provider/model`; what no router tells in time stays unknown. */
  async function parameters(models: ModelName[]): Promise<Map<string, string[] | null>> {
    if (models.length === 0) return new Map()
    const question: ModelQuestion = { v: WIRE_VERSION, kind: 'parameters', models }
    const answer = (await bus.request(bus.subjects.models, question, { timeout: MODEL_QUESTION_LIMIT })) as ModelAnswer
    return new Map(models.map(({ provider, model }, at) => [`${provider}/${model}`, answer.parameters?.[at] ?? null]))
  }

  return [
    route({
      method: 'GET',
      path: '/model_group/info',
      tag: 'models',
      summary: 'What the models a key may use can do, and cost',
      access: 'key',
      input: z.object({ model_group: z.string().optional() }),
      output: z.object({
        data: z.array(
          z.looseObject({
            model_group: z.string(),
            providers: z.array(z.string()),
            supported_openai_params: z.array(z.string()),
          }),
        ),
      }),
      async handle({ input, identity }) {
        const groups = new Map<string, Deployment[]>()
        for (const deployment of runtime.deployments) {
          const { hidden, team, provider, model, accessGroups } = deployment
          if (hidden === true || (team !== undefined && team.id !== identity.teamId)) continue
          const name = team?.publicName ?? deployment.modelGroup
          if (input.model_group !== undefined && input.model_group !== name) continue
          if (!mayCall(identity, [name], [{ provider, model, accessGroups }])) continue
          groups.set(name, [...(groups.get(name) ?? []), deployment])
        }
        if (input.model_group !== undefined && groups.size === 0)
          throw new GatewayError('not_found', `There is no model group ${input.model_group} for this key.`, {
            param: 'model_group',
          })
        const models = new Map(
          [...groups.values()].flat().map(({ provider, model }) => [`${provider}/${model}`, { provider, model }]),
        )
        const known = await parameters([...models.values()]).catch((err: unknown) => {
          log.warn({ err }, 'no router told which parameters models take')
          return new Map<string, string[] | null>()
        })
        const facts = ({ provider, model }: Deployment) => ({
          supports: catalog.facts(provider, model)?.supports ?? [],
          parameters: known.get(`${provider}/${model}`) ?? null,
        })
        return { data: [...groups].map(([name, deployments]) => modelGroup(name, deployments, facts)) as never }
      },
    }),
    route({
      method: 'GET',
      path: '/utils/supported_openai_params',
      tag: 'models',
      summary: 'The OpenAI parameters a model takes',
      access: 'key',
      input: z.object({ model: z.string().min(1).describe('A model group, or provider/model') }),
      output: z.object({ supported_openai_params: z.array(z.string()) }),
      async handle({ input }) {
        const named = nameOf(input.model)
        const answer = (await parameters([named])).get(`${named.provider}/${named.model}`)
        if (answer == null)
          throw new GatewayError('bad_request', `Could not map model=${input.model}: its provider is not known or has no chat.`, {
            param: 'model',
          })
        return { supported_openai_params: answer }
      },
    }),
  ]

  function nameOf(asked: string): ModelName {
    const deployment = runtime.deployments.find(({ modelGroup: group, team }) => group === asked && team === undefined)
    if (deployment !== undefined) return { provider: deployment.provider, model: deployment.model }
    const target = targetOf(asked, null, catalog)
    if (target.kind === 'served') return target
    const problem = target.kind === 'unknown' ? target.problem : `the provider ${target.provider} is not served`
    throw new GatewayError('bad_request', `Could not map model=${asked}: ${problem}.`, { param: 'model' })
  }
}
