import type { Deployment } from '../../proto/deployment.ts'
import type { Auth, CredentialKind } from '../providers/provider.ts'
import {
  agentCredential,
  agentcoreCredential,
  bedrockCredential,
  mantleCredential,
  pollyCredential,
  sagemakerCredential,
} from './aws.ts'
import { azureAgentsCredential, azureCredential } from './azure.ts'
import { cloudflareCredential } from './cloudflare.ts'
import type { Credential } from './credential.ts'
import { databricksCredential } from './databricks.ts'
import { gigachatCredential } from './gigachat.ts'
import { copilotCredential } from './github-copilot.ts'
import { googleCredential } from './google.ts'
import { ociCredential } from './oci.ts'
import { predibaseCredential } from './predibase.ts'
import { sapCredential } from './sap.ts'
import { cursorCredential, langfuseCredential } from './sites.ts'
import { snowflakeCredential } from './snowflake.ts'
import type { Tokens } from './tokens.ts'
import { watsonxCredential } from './watsonx.ts'

export interface CredentialDeps {
  /** `api_key` of the deployment, or of the provider's environment variable; null = none. */
  key: string | null
  /** Opens what accounting sealed (secrets in `deployment.settings`). */
  open(sealed: string): string
  env: Readonly<Record<string, string | undefined>>
  /** Absent where nothing is to be fetched. */
  tokens?: Tokens | undefined
}

/** Makes the credential of a deployment, or says what it lacks. */
export type CredentialMaker = (deployment: Deployment, deps: CredentialDeps) => Credential | { problem: string }

/** One line a kind. */
const MAKERS: Partial<Readonly<Record<CredentialKind, CredentialMaker>>> = {
  'aws-bedrock': bedrockCredential,
  'aws-mantle': mantleCredential,
  'aws-sagemaker': sagemakerCredential,
  'aws-polly': pollyCredential,
  azure: azureCredential,
  google: googleCredential,
  predibase: predibaseCredential,
  'github-copilot': copilotCredential,
  gigachat: gigachatCredential,
  sap: sapCredential,
  oci: ociCredential,
  'aws-agentcore': agentcoreCredential,
  'aws-agent': agentCredential,
  'azure-agents': azureAgentsCredential,
  watsonx: watsonxCredential,
  databricks: databricksCredential,
  snowflake: snowflakeCredential,
  cloudflare: cloudflareCredential,
  cursor: cursorCredential,
  langfuse: langfuseCredential,
}

/** What a deployment proves itself with, or why it cannot. */
export function credentialOf(
  deployment: Deployment,
  { kind }: Auth & { type: 'made' },
  deps: CredentialDeps,
): Credential | { problem: string } {
  return MAKERS[kind]?.(deployment, deps) ?? { problem: `credentials of kind ${kind} are not served yet` }
}
