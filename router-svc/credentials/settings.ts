import type { Deployment } from '../../proto/deployment.ts'
import type { CredentialDeps } from './index.ts'

/** A setting of the deployment, opened; empty when it has none. */
export function settingOf(deployment: Deployment, name: string, { open }: Pick<CredentialDeps, 'open'>): string {
  const value = deployment.settings[name]
  return typeof value === 'string' ? open(value) : ''
}

/** The first variable of these that is set; empty when none is. */
export function variableOf(env: CredentialDeps['env'], ...names: string[]): string {
  for (const name of names) {
    const value = env[name]
    if (value !== undefined && value !== '') return value
  }
  return ''
}
