import { GatewayError } from '../../../shared/errors.ts'
import type { Target } from '../provider.ts'
import { type Model, modelOf } from './models.ts'

/** What Google's own models are asked with, as its clients do: fields of a preview are known there alone. Others: the stable one. */
export const VERSION = 'v1'
export const GOOGLE_VERSION = 'v1beta1'

/** A base at Google's own hosts of models: its services beside them have hosts of their own. */
export const GOOGLE = /^https:\/\/(?:[a-z\d-]+-)?aiplatform\.(?:[a-z]+\.rep\.)?googleapis\.com(?:\/|$)/

/** A base somebody gave as the whole address of a model. */
const WHOLE = /\/(?:publishers\/[^/]+\/models\/[^/]+|endpoints\/\d+)$/

/** Where a model is asked to do something: `…/publishers/google/models/gemini-2.5-pro:generateContent`. */
export function methodUrl(target: Target, model: Model, version: string, method: string): string {
  return `${modelUrl(target, model, version)}:${method}`
}

/** A model of a publisher's, or an endpoint of the project's own. */
export function modelUrl(target: Target, { publisher, id }: Model, version: string): string {
  const base = versioned(target, version)
  if (WHOLE.test(base)) return base
  if (publisher === '') return `${base}/endpoints/${id}`
  return `${base}/publishers/${publisher}/models/${encodeURIComponent(id).replaceAll('%40', '@')}`
}

/**
 * The base of the project's location (`https://H/projects/P/locations/L`, or the host alone in express mode) with a version: the one in it, else
 * the deployment's, else `version`. Throws `bad_request` without a base.
 */
export function versioned({ base, apiVersion }: Target, version: string): string {
  if (base === '') throw new GatewayError('bad_request', 'litellm.BadRequestError: the deployment needs an api_base.')
  if (/\/v\d[a-z\d]*(?:\/|$)/.test(base)) return base
  const at = base.indexOf('/projects/')
  const chosen = apiVersion ?? version
  return at < 0 ? `${base}/${chosen}` : `${base.slice(0, at)}/${chosen}${base.slice(at)}`
}

/** The model of a route's target, which is one object for as long as the configuration holds. */
export function createModels(): (target: Target) => Model {
  const known = new WeakMap<Target, Model>()
  return (target) => {
    let model = known.get(target)
    if (model === undefined) {
      model = modelOf(target.model, target.baseModel)
      known.set(target, model)
    }
    return model
  }
}
