import { describe, expect, it } from 'vitest'
import type { Deployment } from '../../../proto/deployment.ts'
import { providerOf } from '../index.ts'
import type { Provider, Target } from '../provider.ts'
import { encodeWith } from './encode.testkit.ts'

const PLAIN: Pick<Deployment, 'baseModel' | 'settings' | 'info'> = { baseModel: null, settings: {}, info: {} }

/** The path a chat of the model goes to, and the model it names. */
function sent(
  name: string,
  asked: string,
  deployment: Partial<Deployment> = {},
  target: Partial<Target> = {},
): [string, unknown] {
  const known = providerOf(name) as Provider
  const served = known.serve?.(asked, { ...PLAIN, ...deployment })
  const provider = served?.provider ?? known
  if (provider.chat === undefined) throw new Error('no chat')
  const base = provider.base ?? 'https://example.test/v1'
  const { url, body } = encodeWith(provider.chat, {}, { base, provider: name, model: served?.model ?? asked, ...target })
  return [url, body['model']]
}

const OPENAI = 'https://api.openai.com/v1'

describe('the protocol of a model', () => {
  it.each([
    'o1-pro',
    'o1-pro-2025-03-19',
    'o3-pro',
    'gpt-5-pro',
    'gpt-5.2-pro-2025-12-11',
    'gpt-5-codex',
    'gpt-5.1-codex-mini',
    'gpt-5.1-codex-max',
    'codex-mini-latest',
    'o3-deep-research',
    'o4-mini-deep-research-2025-06-26',
    'computer-use-preview',
    'openai/o1-pro',
  ])('of %s is Responses, which is all OpenAI serves it by', (model) => {
    expect(sent('openai', model)).toEqual([`${OPENAI}/responses`, model])
  })

  it.each(['gpt-4o', 'o1', 'o3', 'o1-preview', 'gpt-5', 'gpt-5-mini', 'gpt-5.4', 'gpt-4o-search-preview', 'my-own-pro'])(
    'of %s is chat',
    (model) => {
      expect(sent('openai', model)).toEqual([`${OPENAI}/chat/completions`, model])
    },
  )

  it('is Responses where the name or the deployment asks for it, with any provider of the protocol', () => {
    expect(sent('openai', 'responses/gpt-4o')).toEqual([`${OPENAI}/responses`, 'gpt-4o'])
    expect(sent('openai', 'gpt-4o', { info: { mode: 'responses' } })).toEqual([`${OPENAI}/responses`, 'gpt-4o'])
    expect(sent('xai', 'responses/grok-4')).toEqual(['https://api.x.ai/v1/responses', 'grok-4'])
    expect(sent('openai', 'responses/')).toEqual([`${OPENAI}/chat/completions`, 'responses/'])
  })

  it('is chat where the deployment says so, the prefix being no part of the name', () => {
    const settings = { use_chat_completions_api: true }
    expect(sent('openai', 'gpt-5-pro', { settings })).toEqual([`${OPENAI}/chat/completions`, 'gpt-5-pro'])
    expect(sent('openai', 'responses/gpt-5', { settings })).toEqual([`${OPENAI}/chat/completions`, 'gpt-5'])
  })

  it('is that of the model behind a deployment of Azure', () => {
    const base = 'https://x.openai.azure.com'
    const asked = (deployment: Partial<Deployment>, target: Partial<Target> = {}) =>
      sent('azure', 'mine', deployment, { base, ...target })
    expect(asked({ baseModel: 'azure/gpt-5-codex' })).toEqual([`${base}/openai/v1/responses`, 'mine'])
    expect(asked({})[0]).toContain('/openai/deployments/mine/chat/completions')
  })

  it('lets no bytes of a chat pass, and answers text completions too', () => {
    const served = providerOf('openai')?.serve?.('o1-pro', PLAIN).provider
    expect([served?.chat?.protocol, served?.completion?.protocol]).toEqual([undefined, undefined])
    expect(served?.name).toBe('openai')
    expect(served?.embedding).toBeDefined()
    expect(providerOf('openai')?.serve?.('gpt-4o', PLAIN).provider).toBeNull()
  })
})
