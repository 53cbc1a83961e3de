import { createHash, createPublicKey, generateKeyPairSync, verify } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Deployment } from '../../proto/deployment.ts'
import type { UpstreamRequest } from '../providers/provider.ts'
import { ociCredential } from './oci.ts'

const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const PEM = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
const OWNER = {
  oci_user: 'ocid1.user.oc1..u',
  oci_fingerprint: '20:3b:97:13',
  oci_tenancy: 'ocid1.tenancy.oc1..t',
  oci_compartment_id: 'ocid1.compartment.oc1..c',
}

function make(settings: Record<string, unknown>, env: Record<string, string> = {}, fromDatabase = false) {
  const deployment = { settings, fromDatabase } as unknown as Deployment
  return ociCredential(deployment, { key: null, open: (sealed) => sealed.replace('sealed:', ''), env })
}

function problem(...given: Parameters<typeof make>): string {
  const made = make(...given)
  return 'problem' in made ? made.problem : ''
}

const REQUEST: UpstreamRequest = {
  method: 'POST',
  url: 'https://inference.generativeai.eu-frankfurt-1.oci.oraclecloud.com/20231130/actions/chat',
  headers: { 'content-type': 'application/json' },
  body: '{"text":"grüß"}',
}

async function headersOf(settings: Record<string, unknown>): Promise<Record<string, string>> {
  const made = make(settings)
  if ('problem' in made) throw new Error(made.problem)
  return made.headers(REQUEST, Date.UTC(2014, 0, 5, 21, 31, 40))
}

describe('the signature for Oracle Cloud', () => {
  it('is one over exactly the documented text, by the key whose owner it names', async () => {
    const headers = await headersOf({ ...OWNER, oci_key: `sealed:${PEM}` })
    const digest = createHash('sha256').update(String(REQUEST.body)).digest('base64')
    expect(headers).toMatchObject({
      date: 'Sun, 05 Jan 2014 21:31:40 GMT',
      'content-type': 'application/json',
      'x-content-sha256': digest,
    })
    const parts = /^Signature version="1",keyId="([^"]+)",algorithm="rsa-sha256",headers="([^"]+)",signature="([^"]+)"$/.exec(
      headers['authorization'] ?? '',
    )
    expect(parts?.[1]).toBe('ocid1.tenancy.oc1..t/ocid1.user.oc1..u/20:3b:97:13')
    expect(parts?.[2]).toBe('date (request-target) host content-length content-type x-content-sha256')
    // Written out as Oracle's page has it; the umlauts count two bytes each.
    const text = [
      'date: Sun, 05 Jan 2014 21:31:40 GMT',
      '(request-target): post /20231130/actions/chat',
      'host: inference.generativeai.eu-frankfurt-1.oci.oraclecloud.com',
      'content-length: 17',
      'content-type: application/json',
      `x-content-sha256: ${digest}`,
    ].join('\n')
    const signature = Buffer.from(parts?.[3] ?? '', 'base64')
    expect(
      verify('RSA-SHA256', Buffer.from(text), createPublicKey(publicKey.export({ type: 'spki', format: 'pem' })), signature),
    ).toBe(true)
    expect(verify('RSA-SHA256', Buffer.from(text.replace('17', '15')), publicKey, signature)).toBe(false)
  })

  it('takes the key as text, with line ends written out, as a path, or from the environment; the deployment’s first', () => {
    const folder = mkdtempSync(join(tmpdir(), 'oci-'))
    const path = join(folder, 'key.pem')
    writeFileSync(path, PEM)
    const owner = Object.fromEntries(Object.entries(OWNER).map(([name, value]) => [name.toUpperCase(), value]))
    try {
      expect(make({ ...OWNER, oci_key: PEM.replaceAll('\n', '\\n'), oci_region: 'uk-london-1' })).toMatchObject({
        base: 'https://inference.generativeai.uk-london-1.oci.oraclecloud.com',
        settings: { oci_compartment_id: OWNER.oci_compartment_id },
      })
      expect(make({ ...OWNER, oci_key_file: path })).toHaveProperty('headers')
      expect(make({}, { ...owner, OCI_KEY_FILE: path, OCI_REGION: 'us-chicago-1' })).toMatchObject({
        base: 'https://inference.generativeai.us-chicago-1.oci.oraclecloud.com',
      })
      expect(problem({ ...OWNER, oci_key_file: path }, {}, true)).toContain('stored model')
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('that cannot be made says why, and nothing of the key', () => {
    expect(problem({ oci_key: PEM, oci_user: 'u' })).toBe(
      'Oracle Cloud needs oci_fingerprint (OCI_FINGERPRINT), oci_tenancy (OCI_TENANCY), oci_compartment_id (OCI_COMPARTMENT_ID)',
    )
    expect(problem(OWNER)).toContain('oci_key')
    expect(problem({ ...OWNER, oci_key: 'very secret' })).toBe('oci_key does not hold a private key in PEM without a passphrase')
    expect(problem({ ...OWNER, oci_key_file: '/nowhere/at/all' })).toContain('path of a file')
    expect(problem({ ...OWNER, oci_key: PEM, oci_region: 'evil.test/' })).toContain('not the name of a region')
    expect(problem({ ...OWNER, oci_key: PEM, oci_serving_mode: 'SHARED' })).toContain('ON_DEMAND, DEDICATED')
    const elliptic = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' })
    expect(problem({ ...OWNER, oci_key: elliptic.toString() })).toBe('oci_key must hold an RSA key')
  })
})
