import { entryOf } from '../entry.ts'
import { StartError } from '../start-error.ts'
import type { TracerSettings } from '../tracer.ts'
import type { Config } from './config.ts'
import type { Environment } from './references.ts'

/** How spans leave: OTLP over HTTP as JSON or protobuf, over gRPC, or printed. */
export type SpanProtocol = 'http/json' | 'http/protobuf' | 'grpc' | 'console'

export interface TracingSettings extends TracerSettings {
  protocol: SpanProtocol
  /** Of the collector; null = OTLP's default on this machine. */
  endpoint: string | null
  /** Sent with every batch; they hold credentials. */
  headers: Record<string, string>
  serviceName: string
  /** `deployment.environment.name` of every span; null = not said. */
  environment: string | null
  /** Milliseconds between batches. */
  interval: number
}

/** LiteLLM's names of exporters and OpenTelemetry's, which it reads too. */
const PROTOCOLS: Readonly<Record<string, SpanProtocol>> = {
  otlp_http: 'http/protobuf',
  'http/protobuf': 'http/protobuf',
  'http/json': 'http/json',
  otlp_grpc: 'grpc',
  grpc: 'grpc',
  console: 'console',
}
/** OpenTelemetry's own default. */
const INTERVAL = 5_000

/**
 * Where traces go and how many, from `litellm_settings.callbacks` and OpenTelemetry's environment variables; null = nothing is traced. Throws
 * StartError for an exporter there is not, an address that is none, and headers that cannot be read.
 */
export function tracingSettings(env: Environment, config: Config): TracingSettings | null {
  const { litellm_settings: calls, turnpike_settings: own } = config
  if (![...(calls.callbacks ?? []), ...(calls.success_callback ?? [])].includes('otel')) return null
  const variable = (...names: string[]): string | null =>
    names.map((name) => env[name]).find((value) => value !== undefined && value !== '') ?? null
  const endpoint = variable('OTEL_ENDPOINT', 'OTEL_EXPORTER_OTLP_ENDPOINT')
  const exact = variable('OTEL_EXPORTER_OTLP_TRACES_ENDPOINT')
  const protocol = protocolOf(
    variable('OTEL_EXPORTER', 'OTEL_EXPORTER_OTLP_TRACES_PROTOCOL', 'OTEL_EXPORTER_OTLP_PROTOCOL'),
    endpoint ?? exact,
  )
  const interval = Number(variable('OTEL_BSP_SCHEDULE_DELAY') ?? INTERVAL)
  return {
    protocol,
    endpoint: addressOf(protocol, endpoint, exact),
    headers: headersOf(variable('OTEL_HEADERS', 'OTEL_EXPORTER_OTLP_TRACES_HEADERS', 'OTEL_EXPORTER_OTLP_HEADERS')),
    serviceName: variable('OTEL_SERVICE_NAME') ?? 'turnpike',
    environment: variable('OTEL_ENVIRONMENT_NAME'),
    interval: interval > 0 ? interval : INTERVAL,
    sampleRate: own.trace_sample_rate ?? 1,
    joins: variable('OTEL_IGNORE_CONTEXT_PROPAGATION')?.toLowerCase() !== 'true',
    namesCallers: calls.redact_user_api_key_info !== true,
    forwards: calls.forward_traceparent_to_llm_provider !== false,
  }
}

/** Without a word about it spans go to the collector that is named, and are printed where none is, as in LiteLLM. */
function protocolOf(name: string | null, endpoint: string | null): SpanProtocol {
  if (name === null) return endpoint === null ? 'console' : 'http/protobuf'
  const protocol = entryOf(PROTOCOLS, name.toLowerCase())
  if (protocol === undefined) throw new StartError(`OTEL_EXPORTER is "${name}"; there are ${Object.keys(PROTOCOLS).join(', ')}.`)
  return protocol
}

/** `…/v1/traces` is added to the address of a collector, as OTLP has it; the address of traces alone is taken as it is. */
function addressOf(protocol: SpanProtocol, endpoint: string | null, exact: string | null): string | null {
  const address = endpoint ?? exact
  if (address === null || protocol === 'console') return null
  // gRPC's addresses may go without a scheme.
  const url = URL.parse(protocol === 'grpc' && !address.includes('://') ? `http://${address}` : address)
  if (url === null || !/^https?:$/.test(url.protocol))
    throw new StartError('The address of the trace collector (OTEL_ENDPOINT) is not a URL that starts with http:// or https://.')
  if (protocol !== 'grpc' && endpoint !== null && !/\/v1\/traces\/?$/.test(url.pathname))
    url.pathname = `${url.pathname.replace(/\/(?:v1\/(?:logs|metrics))?\/?$/, '')}/v1/traces`
  return url.href
}

/** `name=value,name=value`, values percent-encoded (W3C Baggage), which OTLP's variables hold. */
function headersOf(text: string | null): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const pair of text?.split(',') ?? []) {
    if (pair.trim() === '') continue
    const at = pair.indexOf('=')
    const name = pair.slice(0, at).trim().toLowerCase()
    // The value may be a credential, and whatever stands in its place may be one too.
    if (at < 1 || !/^[!#$%&'*+.^_`|~\da-z-]+$/.test(name))
      throw new StartError('OTEL_HEADERS is not of the form name=value,name=value.')
    headers[name] = decoded(pair.slice(at + 1).trim())
  }
  return headers
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
