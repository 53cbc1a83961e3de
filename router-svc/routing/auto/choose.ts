import { GatewayError } from '../../../shared/errors.ts'
import type { Log } from '../../../shared/log.ts'
import type { EmbedTexts } from '../../cache/embed.ts'
import type { Call } from '../../call.ts'
import type { Resolution, RouterRuntime } from '../../runtime.ts'
import { resolveTarget } from '../resolve.ts'
import type { AutoRouter, SemanticRouter } from './auto-router.ts'
import { tierOf } from './complexity.ts'

/** Chooses the group that answers a call to an auto router. Nobody else's call comes here. */
export interface AutoRouting {
  /**
   * The group chosen, which the call belongs to from here on. At once where no model is asked. Throws or rejects with GatewayError `unknown_model`
   * when what was chosen is not there.
   */
  choose(call: Call, runtime: RouterRuntime, router: AutoRouter): Resolution | Promise<Resolution>
}

export interface AutoRoutingDeps {
  embed: EmbedTexts
  log: Log
}

/** Sets of utterances whose vectors are kept. */
const KEPT_MAX = 64

export function createAutoRouting({ embed, log }: AutoRoutingDeps): AutoRouting {
  /** Vectors of length 1, one an utterance of all routes in order, by model and utterances: they outlive changes of anything else. */
  const kept = new Map<string, Promise<Float32Array[]>>()

  const vectorsOf = (router: SemanticRouter, call: Call): Promise<Float32Array[]> => {
    const utterances = router.routes.flatMap(({ utterances }) => utterances)
    const key = JSON.stringify([router.embeddingModel, utterances])
    let vectors = kept.get(key)
    if (vectors === undefined) {
      vectors = embed(utterances, router.embeddingModel, call).then((made) => made.map(unit))
      // What failed is asked for again.
      vectors.catch(() => kept.delete(key))
      const oldest = kept.keys().next().value
      if (kept.size >= KEPT_MAX && oldest !== undefined) kept.delete(oldest)
      kept.set(key, vectors)
    }
    return vectors
  }

  const nearest = async (router: SemanticRouter, call: Call): Promise<string | null> => {
    const question = questionOf(call)
    if (question === '' || router.routes.every(({ utterances }) => utterances.length === 0)) return null
    const [vectors, [asked]] = await Promise.all([vectorsOf(router, call), embed([question], router.embeddingModel, call)])
    return asked === undefined ? null : bestOf(router, vectors, unit(asked))
  }

  return {
    choose(call, runtime, router) {
      if (router.kind === 'complexity')
        return chosen(call, runtime, router, router.tiers[tierOf(questionOf(call), router.boundaries)] ?? null)
      return nearest(router, call).then(
        (name) => chosen(call, runtime, router, name),
        (err: unknown) => {
          // Without its vectors a router is still good for its default.
          log.warn({ err, callId: call.message.callId, router: call.requestedModel }, 'an auto router could not embed a question')
          return chosen(call, runtime, router, null)
        },
      )
    },
  }
}

function chosen(call: Call, runtime: RouterRuntime, router: AutoRouter, name: string | null): Resolution {
  for (const model of [name, router.defaultModel]) {
    if (model === null) continue
    const resolution = resolveTarget(call, runtime, model)
    // A router that chooses a router might go round in circles.
    if (resolution === null || resolution.routes[0]?.auto !== undefined) continue
    call.modelGroup = resolution.group
    if (router.showsChoice) call.requestedModel = resolution.group
    return resolution
  }
  const tried = [name, router.defaultModel].filter((model) => model !== null).join(' or ')
  const why = tried === '' ? 'found no match, and has no default' : `chose ${tried}, which is not there`
  throw new GatewayError('unknown_model', `The router '${call.requestedModel}' ${why}.`, { param: 'model' })
}

/** The group whose nearest utterance is nearest of all, among those that reach their threshold; null = none does. */
function bestOf({ routes }: SemanticRouter, vectors: readonly Float32Array[], question: Float32Array): string | null {
  let best: string | null = null
  let highest = Number.NEGATIVE_INFINITY
  let at = 0
  for (const { name, utterances, threshold } of routes) {
    for (let end = at + utterances.length; at < end; at += 1) {
      const score = dot(vectors[at] as Float32Array, question)
      if (score < threshold || score <= highest) continue
      best = name
      highest = score
    }
  }
  return best
}

/** What the user said last, or the prompt of a text completion; empty where there is neither. */
export function questionOf({ request }: Pick<Call, 'request'>): string {
  const { messages, prompt } = request as { messages?: unknown; prompt?: unknown }
  if (typeof prompt === 'string') return prompt
  if (!Array.isArray(messages)) return ''
  const last = (messages as { role?: unknown; content?: unknown }[]).findLast((message) => message?.role === 'user')
  if (typeof last?.content === 'string') return last.content
  if (!Array.isArray(last?.content)) return ''
  const texts = (last.content as { text?: unknown }[]).flatMap((part) => (typeof part?.text === 'string' ? [part.text] : []))
  return texts.join('\n')
}

function unit(vector: Float32Array): Float32Array {
  const length = Math.sqrt(dot(vector, vector))
  return length === 0 ? vector : vector.map((value) => value / length)
}

/** Of vectors of different lengths: no likeness. */
function dot(one: Float32Array, other: Float32Array): number {
  if (one.length !== other.length) return Number.NEGATIVE_INFINITY
  let sum = 0
  for (let index = 0; index < one.length; index += 1) sum += (one[index] as number) * (other[index] as number)
  return sum
}
