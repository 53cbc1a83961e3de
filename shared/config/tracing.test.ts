import { describe, expect, it } from 'vitest'
import { StartError } from '../start-error.ts'
import { checkConfig } from './config.ts'
import { tracingSettings } from './tracing.ts'

const OTEL = { litellm_settings: { callbacks: ['otel'] } }

function read(env: Record<string, string> = {}, tree: Record<string, unknown> = OTEL) {
  const checked = checkConfig(tree)
  if (!checked.ok) throw new Error(JSON.stringify(checked.problems))
  return tracingSettings(env, checked.config)
}

describe('tracingSettings', () => {
  it('traces nothing unless otel is named', () => {
    const env = { OTEL_ENDPOINT: 'http://collector:4318' }
    expect(read(env, {})).toBeNull()
    expect(read(env, { litellm_settings: { callbacks: ['prometheus'] } })).toBeNull()
    expect(read(env, { litellm_settings: { callbacks: 'otel' } })).not.toBeNull()
    expect(read(env, { litellm_settings: { success_callback: ['langfuse', 'otel'] } })).not.toBeNull()
  })

  it('takes LiteLLM’s names, and OpenTelemetry’s where those are not given', () => {
    const settings = read({
      OTEL_EXPORTER: 'otlp_http',
      OTEL_ENDPOINT: 'http://collector:4318',
      OTEL_HEADERS: 'authorization=Bearer%20x, X-Team = a=b',
      OTEL_SERVICE_NAME: 'gateway',
      OTEL_ENVIRONMENT_NAME: 'staging',
      OTEL_BSP_SCHEDULE_DELAY: '250',
    })
    expect(settings).toEqual({
      protocol: 'http/protobuf',
      endpoint: 'http://collector:4318/v1/traces',
      headers: { authorization: 'Bearer x', 'x-team': 'a=b' },
      serviceName: 'gateway',
      environment: 'staging',
      interval: 250,
      sampleRate: 1,
      joins: true,
      namesCallers: true,
      forwards: true,
    })
    expect(
      read({
        OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
        OTEL_EXPORTER_OTLP_ENDPOINT: 'https://collector/base/',
        OTEL_EXPORTER_OTLP_HEADERS: 'a=1',
      }),
    ).toMatchObject({ protocol: 'http/json', endpoint: 'https://collector/base/v1/traces', headers: { a: '1' } })
  })

  it('prints spans where no collector is named', () => {
    expect(read()).toMatchObject({ protocol: 'console', endpoint: null })
    expect(read({ OTEL_ENDPOINT: 'http://c:4318' })).toMatchObject({ protocol: 'http/protobuf' })
  })

  it.each([
    ['http://c:4318', 'http://c:4318/v1/traces'],
    ['http://c:4318/v1/traces', 'http://c:4318/v1/traces'],
    ['http://c:4318/v1/logs', 'http://c:4318/v1/traces'],
    ['https://c/api/public/otel', 'https://c/api/public/otel/v1/traces'],
  ])('sends the traces of %s to %s', (endpoint, address) => {
    expect(read({ OTEL_ENDPOINT: endpoint, OTEL_EXPORTER: 'otlp_http' })?.endpoint).toBe(address)
  })

  it('takes the address of traces alone as it is, and one of gRPC without a path', () => {
    expect(read({ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://c/in' })?.endpoint).toBe('http://c/in')
    expect(read({ OTEL_ENDPOINT: 'collector:4317', OTEL_EXPORTER: 'otlp_grpc' })).toMatchObject({
      protocol: 'grpc',
      endpoint: 'http://collector:4317/',
    })
  })

  it('reads share, redaction and what providers and callers get', () => {
    const settings = read(
      { OTEL_IGNORE_CONTEXT_PROPAGATION: 'True' },
      {
        litellm_settings: { callbacks: 'otel', redact_user_api_key_info: true, forward_traceparent_to_llm_provider: false },
        turnpike_settings: { trace_sample_rate: 0.01 },
      },
    )
    expect(settings).toMatchObject({ sampleRate: 0.01, joins: false, namesCallers: false, forwards: false })
  })

  it('refuses what it cannot do, by name and without the values of headers', () => {
    expect(() => read({ OTEL_EXPORTER: 'zipkin' })).toThrow(/OTEL_EXPORTER is "zipkin"; there are otlp_http, /)
    expect(() => read({ OTEL_EXPORTER: 'constructor' })).toThrow(StartError)
    expect(() => read({ OTEL_ENDPOINT: 'collector:4318', OTEL_EXPORTER: 'otlp_http' })).toThrow(/OTEL_ENDPOINT/)
    expect(() => read({ OTEL_HEADERS: 'Bearer hush' })).toThrow(/^OTEL_HEADERS is not of the form name=value,name=value\.$/)
    expect(checkConfig({ turnpike_settings: { trace_sample_rate: 1.5 } }).ok).toBe(false)
  })
})
