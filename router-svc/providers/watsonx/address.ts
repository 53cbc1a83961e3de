import { GatewayError } from '../../../shared/errors.ts'
import type { Fields } from '../json.ts'
import type { Target } from '../provider.ts'

/** The date of what is understood, where the operator gives none: LiteLLM's. */
const VERSION = '2024-03-13'
const DEPLOYMENT = 'deployment/'

export interface Place {
  url: string
  /** What the body says of the model and of who pays: nothing on a deployment's own route. */
  fields: { model_id?: string; project_id?: unknown; space_id?: unknown }
}

/**
 * Where a call goes (`task`: `text/chat`, `text/generation_stream`). `given` is what the client sent: its own project counts where the deployment
 * names none. Throws GatewayError `bad_request` when nobody does.
 */
export function placeOf(target: Target, task: string, given: Readonly<Fields>): Place {
  const root = `${target.base.replace(/\/ml\/v1$/, '')}/ml/v1`
  const query = `version=${encodeURIComponent(target.apiVersion ?? VERSION)}`
  if (target.model.startsWith(DEPLOYMENT)) {
    const id = encodeURIComponent(target.model.slice(DEPLOYMENT.length))
    return { url: `${root}/deployments/${id}/${task}?${query}`, fields: {} }
  }
  return { url: `${root}/${task}?${query}`, fields: { model_id: target.model, ...containerOf(target, given) } }
}

/** A project or a space, never both: the service refuses that. */
function containerOf({ settings }: Target, given: Readonly<Fields>): { project_id?: unknown; space_id?: unknown } {
  for (const source of [settings, given]) {
    if (source['project_id']) return { project_id: source['project_id'] }
    if (source['space_id']) return { space_id: source['space_id'] }
  }
  throw new GatewayError(
    'bad_request',
    'litellm.BadRequestError: watsonx.ai needs a project or a space: project_id or space_id of the deployment, WATSONX_PROJECT_ID or WATSONX_SPACE_ID.',
    { param: 'project_id' },
  )
}
