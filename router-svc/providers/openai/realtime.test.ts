import { describe, expect, it } from 'vitest'
import { PLAIN_TARGET } from '../plain-target.ts'
import type { Target } from '../provider.ts'
import { azureRealtime, openaiRealtime } from './realtime.ts'

function target(base: string, fields: Partial<Target> = {}): Target {
  return {
    ...PLAIN_TARGET,
    provider: 'p',
    model: 'gpt-realtime',
    base,
    ...fields,
  }
}

const NOTHING = { query: {}, headers: {} }

describe('a session', () => {
  it('at OpenAI names the model of the deployment, whatever the client called it', () => {
    const request = {
      query: { model: 'alias', other: 'x' },
      headers: { 'openai-beta': 'realtime=v1', authorization: 'no', cookie: 'no' },
    }
    expect(openaiRealtime.open(request, target('https://api.openai.com/v1'))).toEqual({
      url: 'https://api.openai.com/v1/realtime?model=gpt-realtime',
      headers: { 'openai-beta': 'realtime=v1' },
      protocols: [],
    })
  })

  it('that only transcribes names no model', () => {
    const { url } = openaiRealtime.open({ query: { intent: 'transcription' }, headers: {} }, target('https://api.openai.com/v1'))
    expect(url).toBe('https://api.openai.com/v1/realtime?intent=transcription')
  })

  it.each([
    ['https://r.openai.azure.com', {}, 'https://r.openai.azure.com/openai/v1/realtime?model=gpt-realtime'],
    [
      'https://r.openai.azure.com/openai/v1',
      { apiVersion: '2024-10-01-preview' },
      'https://r.openai.azure.com/openai/v1/realtime?model=gpt-realtime',
    ],
    ['https://r.openai.azure.com', { apiVersion: 'preview' }, 'https://r.openai.azure.com/openai/v1/realtime?model=gpt-realtime'],
    [
      'https://r.openai.azure.com/',
      { apiVersion: '2024-10-01-preview' },
      'https://r.openai.azure.com/openai/realtime?api-version=2024-10-01-preview&deployment=gpt-realtime',
    ],
    [
      'https://r.openai.azure.com',
      { apiVersion: '2024-10-01-preview', settings: { realtime_protocol: 'GA' } },
      'https://r.openai.azure.com/openai/v1/realtime?model=gpt-realtime',
    ],
  ])('at Azure %s with %j is opened at %s', (base, fields, url) => {
    expect(azureRealtime.open(NOTHING, target(base, fields)).url).toBe(url)
  })
})
