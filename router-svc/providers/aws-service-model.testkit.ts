import { readFileSync } from 'node:fs'
import { isFields } from './json.ts'
import type { UpstreamRequest } from './provider.ts'

interface Shape {
  type: string
  members?: Record<string, { shape: string; location?: string; locationName?: string }>
  required?: string[]
  member?: { shape: string }
  value?: { shape: string }
  enum?: string[]
  pattern?: string
  payload?: string
  document?: boolean
  union?: boolean
}

interface ServiceModel {
  operations: Record<string, { http: { method: string; requestUri: string }; input: { shape: string } }>
  shapes: Record<string, Shape>
}

/** AWS's description of one of its services, `bedrock-runtime` or `sagemaker-runtime`. */
export function serviceModel(name: string): ServiceModel {
  const file = new URL(`../../../shared/specs/aws-${name}-service-2.json`, import.meta.url)
  return JSON.parse(readFileSync(file, 'utf8')) as ServiceModel
}

/** What is wrong with a request to an operation: its path, its headers, and where the service reads it the members of its body. */
export function problemsOf(model: ServiceModel, operation: string, request: UpstreamRequest): string[] {
  const asked = model.operations[operation]
  if (asked === undefined) throw new Error(`no operation ${operation}`)
  const problems: string[] = []
  if (request.method !== asked.http.method) problems.push(`method ${request.method}`)
  const path = new RegExp(`^${asked.http.requestUri.replace(/\{[^}]+\}/g, '[^/]+')}$`)
  const { pathname } = new URL(request.url)
  if (!path.test(pathname)) problems.push(`path ${pathname}`)
  const input = model.shapes[asked.input.shape] as Shape
  const headers = new Map<string, string>()
  for (const { shape, location, locationName } of Object.values(input.members ?? {}))
    if (location === 'header') headers.set((locationName ?? '').toLowerCase(), shape)
  for (const [name, value] of Object.entries(request.headers)) {
    const shape = headers.get(name)
    if (shape !== undefined) problems.push(...valueProblems(model, shape, value, name))
    else if (name.startsWith('x-amz')) problems.push(`header ${name}`)
  }
  // The body of such an operation is the model's or the container's own.
  if (input.payload !== undefined || operation.startsWith('InvokeEndpoint')) return problems
  const body = Object.entries(input.members ?? {}).filter(([, { location }]) => location === undefined)
  const required = (input.required ?? []).filter((name) => body.some(([member]) => member === name))
  const shape: Shape = { type: 'structure', members: Object.fromEntries(body), required }
  return [...problems, ...structureProblems(model, shape, JSON.parse(String(request.body)), 'body')]
}

function valueProblems(model: ServiceModel, name: string, value: unknown, path: string): string[] {
  const shape = model.shapes[name] as Shape
  switch (shape.type) {
    case 'structure':
      return shape.document === true ? [] : structureProblems(model, shape, value, path)
    case 'list':
      if (!Array.isArray(value)) return [`${path} is no list`]
      return value.flatMap((entry, at) =>
        valueProblems(model, (shape.member as { shape: string }).shape, entry, `${path}[${at}]`),
      )
    case 'map':
      if (!isFields(value)) return [`${path} is no map`]
      return Object.entries(value).flatMap(([key, entry]) =>
        valueProblems(model, (shape.value as { shape: string }).shape, entry, `${path}.${key}`),
      )
    case 'integer':
    case 'long':
      return Number.isInteger(value) ? [] : [`${path} is no integer`]
    case 'float':
    case 'double':
      return typeof value === 'number' ? [] : [`${path} is no number`]
    case 'boolean':
      return typeof value === 'boolean' ? [] : [`${path} is no boolean`]
    case 'blob':
    case 'string': {
      if (typeof value !== 'string') return [`${path} is no text`]
      if (shape.enum !== undefined && !shape.enum.includes(value)) return [`${path} is ${value}`]
      if (shape.pattern === undefined || shape.pattern.includes('\\p{')) return []
      return new RegExp(`^(?:${shape.pattern})$`).test(value) ? [] : [`${path} does not match ${shape.pattern}`]
    }
    default:
      return []
  }
}

function structureProblems(model: ServiceModel, shape: Shape, value: unknown, path: string): string[] {
  if (!isFields(value)) return [`${path} is no object`]
  const problems = (shape.required ?? []).filter((name) => value[name] === undefined).map((name) => `${path}.${name} is missing`)
  if (shape.union === true && Object.keys(value).length !== 1) problems.push(`${path} is not of one kind`)
  for (const [name, entry] of Object.entries(value)) {
    const member = shape.members?.[name]
    if (member === undefined) problems.push(`${path}.${name} is not known`)
    else problems.push(...valueProblems(model, member.shape, entry, `${path}.${name}`))
  }
  return problems
}
