import { bearerOf } from './fetched-token.ts'
import type { CredentialMaker } from './index.ts'

const EXCHANGE = 'https://api.github.com/copilot_internal/v2/token'
/** A token of Copilot itself, which needs no exchange. */
const READY = /^tid=|;exp=/

/**
 * GitHub Copilot: a GitHub OAuth token of somebody with a plan, exchanged for tokens that live about half an hour. The login that gives the first
 * one is interactive and is not done here.
 */
export const copilotCredential: CredentialMaker = (_, { key, tokens }) => {
  if (key === null) {
    return {
      problem:
        'no GitHub OAuth token is configured (api_key or GITHUB_COPILOT_TOKEN); the device login is interactive and not done here: ' +
        'log in with a Copilot editor plug-in or the LiteLLM CLI and give the token it keeps',
    }
  }
  if (READY.test(key)) {
    const headers = { authorization: `Bearer ${key}` }
    return { headers: () => headers }
  }
  if (tokens === undefined) return { problem: 'tokens of GitHub Copilot cannot be fetched here' }
  const headers = {
    authorization: `token ${key}`,
    accept: 'application/json',
    'editor-version': 'vscode/1.99.0',
    'editor-plugin-version': 'copilot-chat/0.26.7',
    'user-agent': 'GitHubCopilotChat/0.26.7',
  }
  return bearerOf(tokens, {
    id: `copilot ${key}`,
    issuer: 'GitHub Copilot',
    member: 'token',
    request: () => ({ method: 'GET', url: EXCHANGE, headers, body: '' }),
  })
}
