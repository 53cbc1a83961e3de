import { createHash, createPrivateKey, type KeyObject, sign } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Deployment } from '../../proto/deployment.ts'
import type { UpstreamRequest } from '../providers/provider.ts'
import type { CredentialDeps, CredentialMaker } from './index.ts'
import { settingOf, variableOf } from './settings.ts'

/** Oracle's first region, and LiteLLM's default. */
const DEFAULT_REGION = 'us-ashburn-1'
const SERVING_MODES = ['ON_DEMAND', 'DEDICATED']

/**
 * Oracle Cloud: a signature over each request with an API signing key (`oci_key`: its PEM text, or `oci_key_file`: the path of one), whose owner is
 * named by `oci_tenancy`, `oci_user` and `oci_fingerprint`. What the deployment says beats the environment (OCI_…). The region tells the host.
 */
export const ociCredential: CredentialMaker = (deployment, deps) => {
  const said = (name: string): string => settingOf(deployment, name, deps) || variableOf(deps.env, name.toUpperCase())
  const [user, fingerprint, tenancy, compartment] = ['oci_user', 'oci_fingerprint', 'oci_tenancy', 'oci_compartment_id'].map(said)
  const missing = Object.entries({
    oci_user: user,
    oci_fingerprint: fingerprint,
    oci_tenancy: tenancy,
    oci_compartment_id: compartment,
  })
    .filter(([, value]) => value === '')
    .map(([name]) => `${name} (${name.toUpperCase()})`)
  if (missing.length > 0) return { problem: `Oracle Cloud needs ${missing.join(', ')}` }
  const region = said('oci_region') || DEFAULT_REGION
  if (!/^[a-z]{2}(?:-[a-z]+)+-\d+$/.test(region)) return { problem: `oci_region "${region}" is not the name of a region` }
  const mode = settingOf(deployment, 'oci_serving_mode', deps)
  if (mode !== '' && !SERVING_MODES.includes(mode.toUpperCase()))
    return { problem: `oci_serving_mode must be one of ${SERVING_MODES.join(', ')}` }
  const key = keyOf(deployment, deps)
  if ('problem' in key) return key
  const keyId = `${tenancy}/${user}/${fingerprint}`
  return {
    base: `https://inference.generativeai.${region}.oci.oraclecloud.com`,
    settings: { oci_compartment_id: compartment },
    headers: (request, now) => signed(request, keyId, key.key, now),
  }
}

/** In the order they are signed in. */
const SIGNED = 'date (request-target) host content-length content-type x-content-sha256'

/**
 * Headers that prove a request with a body, by HTTP signatures as Oracle has them
 * (https://docs.oracle.com/en-us/iaas/Content/API/Concepts/signingrequests.htm). `now`: Unix milliseconds.
 */
export function signed(
  { method, url, headers, body }: UpstreamRequest,
  keyId: string,
  key: KeyObject,
  now: number,
): Record<string, string> {
  const { host, pathname, search } = new URL(url)
  const bytes = typeof body === 'string' ? Buffer.from(body) : body
  const date = new Date(now).toUTCString()
  const digest = createHash('sha256').update(bytes).digest('base64')
  const type = headers['content-type'] ?? 'application/json'
  const values: Readonly<Record<string, string>> = {
    date,
    '(request-target)': `${method.toLowerCase()} ${pathname}${search}`,
    host,
    'content-length': String(bytes.length),
    'content-type': type,
    'x-content-sha256': digest,
  }
  const text = SIGNED.split(' ')
    .map((name) => `${name}: ${values[name]}`)
    .join('\n')
  const signature = sign('RSA-SHA256', Buffer.from(text), key).toString('base64')
  return {
    date,
    'content-type': type,
    'x-content-sha256': digest,
    authorization: `Signature version="1",keyId="${keyId}",algorithm="rsa-sha256",headers="${SIGNED}",signature="${signature}"`,
  }
}

/** The deployment's key before its file, both before the environment's. Nothing of what they hold is told. */
function keyOf(deployment: Deployment, deps: CredentialDeps): { key: KeyObject } | { problem: string } {
  const path = settingOf(deployment, 'oci_key_file', deps)
  if (path !== '' && deployment.fromDatabase)
    return { problem: 'oci_key_file cannot be used by a stored model: give the key itself (oci_key)' }
  const own = settingOf(deployment, 'oci_key', deps)
  const sources: [string, string, boolean][] = [
    ['oci_key', own, false],
    ['oci_key_file', path, true],
    ['OCI_KEY', variableOf(deps.env, 'OCI_KEY'), false],
    ['OCI_KEY_FILE', variableOf(deps.env, 'OCI_KEY_FILE'), true],
  ]
  const found = sources.find(([, value]) => value !== '')
  if (found === undefined) return { problem: 'no signing key is configured (oci_key or oci_key_file; OCI_KEY or OCI_KEY_FILE)' }
  const [name, value, isPath] = found
  let pem: string
  try {
    pem = isPath ? readFileSync(value, 'utf8') : value
  } catch {
    return { problem: `${name} is not the path of a file that can be read` }
  }
  try {
    // Out of environment variables the line ends often come as two characters.
    const key = createPrivateKey(pem.replaceAll('\\n', '\n'))
    return key.asymmetricKeyType === 'rsa' ? { key } : { problem: `${name} must hold an RSA key` }
  } catch {
    return { problem: `${name} does not hold a private key in PEM without a passphrase` }
  }
}
