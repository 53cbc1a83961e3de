import type { AwsCredentials } from '../../shared/http/aws-signature.ts'

/** Where AWS's keys come from, where they are not simply given. */
export interface AwsSource {
  /** Of the token service. */
  region: string
  /** Of the shared files (`~/.aws/config`, `~/.aws/credentials`); null = what the environment says. */
  profile: string | null
  /** Assumed with the keys of all the rest, or with the token. */
  role: { arn: string; session: string; externalId: string | null } | null
  /** Names the token (web-identity-token.ts). Only with a role. */
  webIdentity: string | null
  /** Keys the role is assumed with; null = of the profile or the environment. */
  keys: AwsCredentials | null
  /** Base URL of the token service, where it is not AWS's own of the region. */
  stsEndpoint: string | null
}

/** Name of a session nobody named; it shows in AWS's audit log. */
export const SESSION = 'turnpike'
