import { GatewayError } from '../../shared/errors.ts'
import type { UploadedFile } from '../canonical/uploaded-file.ts'
import { type Fields, isFields } from '../providers/json.ts'
import type { Route } from '../runtime.ts'
import { eachLine } from './json-lines.ts'

/** The models that the lines of a batch's input ask for. */
export async function modelsInBatch({ bytes }: UploadedFile): Promise<string[]> {
  const names = new Set<string>()
  await eachLine(bytes, (line) => {
    const { name } = requestIn(line)
    if (name !== null) names.add(name)
  })
  return [...names]
}

/**
 * The input with every line asking for what the deployment calls its model: `route`'s own where one model group was named for the whole, else what each
 * line's group is called at the same provider. Rejects with GatewayError `bad_request` where lines are of different providers, and where one is no
 * JSON: a provider that ends lines elsewhere, at a carriage return, would find requests in it that nobody has looked at.
 */
export async function batchFor(
  file: UploadedFile,
  route: Route,
  lines: ReadonlyMap<string, Route | null>,
  whole: boolean,
): Promise<UploadedFile> {
  const written: string[] = []
  let number = 0
  await eachLine(file.bytes, (line) => {
    number += 1
    const { value, body, name } = requestIn(line, () => {
      throw new GatewayError('bad_request', `The request number ${number} of the file is not one JSON object in a line.`, {
        param: 'file',
      })
    })
    const model = name === null ? null : whole ? route.model : modelAt(route, name, lines.get(name) ?? null)
    written.push(model === null || model === '' || model === name ? line : JSON.stringify({ ...value, body: { ...body, model } }))
  })
  return { ...file, bytes: Buffer.from(`${written.join('\n')}\n`) }
}

function modelAt({ deployment }: Route, name: string, own: Route | null): string {
  if (own === null) return name
  if (own.deployment.provider === deployment.provider) return own.model
  throw new GatewayError(
    'bad_request',
    `The lines of one batch must be of one provider: ${name} is at ${own.deployment.provider}, others are at ${deployment.provider}.`,
  )
}

/** Another document than a request stays as it is, for the provider to refuse; `broken` is told of what is none. */
function requestIn(line: string, broken: () => void = () => undefined): { value: Fields; body: Fields; name: string | null } {
  const none = { value: {}, body: {}, name: null }
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    broken()
    return none
  }
  const body = isFields(value) ? value['body'] : undefined
  if (!isFields(value) || !isFields(body)) return none
  return { value, body, name: typeof body['model'] === 'string' ? body['model'] : null }
}
