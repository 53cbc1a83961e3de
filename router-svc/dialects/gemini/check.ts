import { isObject } from '../../../shared/json-object.ts'
import { checkFields, checkModel, invalid, type Kind } from '../request-fields.ts'
import { camelled, type Fields } from './wire.ts'

/** Only what some part here or every provider relies on; ranges, and parts and tools of kinds not known here, are the provider's to judge. */
const FIELDS: readonly (readonly [string, Kind])[] = [
  ['generationConfig', 'object'],
  ['tools', 'list'],
  ['toolConfig', 'object'],
  ['safetySettings', 'list'],
  ['cachedContent', 'string'],
]

const GENERATION: readonly (readonly [string, Kind])[] = [
  ['temperature', 'number'],
  ['topP', 'number'],
  ['topK', 'number'],
  ['candidateCount', 'positive integer'],
  ['maxOutputTokens', 'positive integer'],
  ['stopSequences', 'list of strings'],
  ['responseMimeType', 'string'],
  ['responseSchema', 'object'],
  ['responseLogprobs', 'boolean'],
  ['logprobs', 'integer'],
  ['thinkingConfig', 'object'],
]

const ROLES: ReadonlySet<unknown> = new Set(['user', 'model', 'function', undefined, null, ''])

/** `body`: in the spelling of answers. Throws GatewayError `bad_request` naming the first place that is wrong: `contents[2].parts[0].text`. */
export function checkBody(body: Readonly<Fields>): void {
  checkModel(body)
  const { contents, systemInstruction: system, generationConfig: generation, tools } = body
  if (!Array.isArray(contents) || contents.length === 0) throw invalid('contents', 'non-empty list', contents)
  for (let index = 0; index < contents.length; index++) checkContent(contents[index], `contents[${index}]`)
  if (system !== undefined && typeof system !== 'string') checkContent(system, 'systemInstruction')
  checkFields(body, FIELDS)
  if (isObject(generation)) checkFields(camelled(generation), GENERATION, 'generationConfig.')
  if (!Array.isArray(tools)) return
  for (let index = 0; index < tools.length; index++) checkTool(tools[index], `tools[${index}]`)
}

function checkContent(content: unknown, place: string): void {
  if (!isObject(content)) throw invalid(place, 'object', content)
  if (!ROLES.has(content['role'])) throw invalid(`${place}.role`, 'role (user or model)', content['role'])
  const { parts } = content
  if (!Array.isArray(parts)) throw invalid(`${place}.parts`, 'list', parts)
  for (let index = 0; index < parts.length; index++) checkPart(parts[index], `${place}.parts[${index}]`)
}

function checkPart(given: unknown, place: string): void {
  if (!isObject(given)) throw invalid(place, 'object', given)
  const part = camelled(given)
  if (part['text'] !== undefined && typeof part['text'] !== 'string') throw invalid(`${place}.text`, 'string', part['text'])
  needs(part, 'inlineData', place, 'mimeType', 'data')
  needs(part, 'fileData', place, 'fileUri')
  needs(part, 'functionCall', place, 'name')
  needs(part, 'functionResponse', place, 'name')
}

/** Where the part has that member, it is an object with these texts. */
function needs(part: Fields, name: string, place: string, ...texts: string[]): void {
  const value = part[name]
  if (value === undefined) return
  if (!isObject(value)) throw invalid(`${place}.${name}`, 'object', value)
  const fields = camelled(value)
  for (const text of texts) {
    const found = fields[text]
    if (typeof found !== 'string' || found === '') throw invalid(`${place}.${name}.${text}`, 'non-empty string', found)
  }
}

function checkTool(given: unknown, place: string): void {
  if (!isObject(given)) throw invalid(place, 'object', given)
  const declared = camelled(given)['functionDeclarations']
  if (declared === undefined) return
  if (!Array.isArray(declared)) throw invalid(`${place}.functionDeclarations`, 'list', declared)
  for (let index = 0; index < declared.length; index++) {
    const at = `${place}.functionDeclarations[${index}]`
    const one: unknown = declared[index]
    if (!isObject(one)) throw invalid(at, 'object', one)
    if (typeof one['name'] !== 'string' || one['name'] === '') throw invalid(`${at}.name`, 'non-empty string', one['name'])
  }
}
