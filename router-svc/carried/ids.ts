import type { Identity } from '../../proto/identity.ts'
import { ownersOf } from '../../proto/objects.ts'
import { type Sealer, sameSecret } from '../../shared/config/secrets.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { CarriedIds, ObjectName } from './carrier.ts'

/** What our ids begin with, once decoded. The number names the recipe. */
const MARK = 'turnpike:1:'

/**
 * Ids that carry where their object is and whose it is: base64url of `turnpike:1:<proof>:<deployment>:<id>`, behind the prefix its kind has. The proof
 * signs deployment, id and owner, so that an id is of no use to others, and none can be made up. An owner is a team, else a user, else a key;
 * proxy admins may use all.
 */
export function carriedIds(
  identity: Pick<Identity, 'teamId' | 'userId' | 'keyHash'> & { role?: Identity['role'] },
  { sign }: Pick<Sealer, 'sign'>,
): CarriedIds {
  const owners = ownersOf(identity)
  const proofOf = ({ deploymentId, id }: ObjectName, owner: string): string => sign(`${owner}\n${deploymentId}\n${id}`)
  return {
    encode(prefix, object) {
      const text = `${MARK}${proofOf(object, owners[0] as string)}:${encodeURIComponent(object.deploymentId)}:${object.id}`
      return prefix + Buffer.from(text).toString('base64url')
    },
    decode(id) {
      const read = readId(id)
      if (read === null) return null
      const { proof, object } = read
      const own = owners.some((owner) => sameSecret(proofOf(object, owner), proof))
      // Whether it is another's or was never made is not told.
      if (!own && identity.role !== 'proxy_admin') throw new GatewayError('not_found', `No such object: ${id}.`)
      return object
    },
  }
}

/** Where an id of ours says its object is, whoever's it may be: for what is proved before anything comes of it. Null for others. */
export function placeIn(id: string): ObjectName | null {
  return readId(id)?.object ?? null
}

function readId(id: string): { proof: string; object: ObjectName } | null {
  const text = decoded(id)
  if (text === null) return null
  const [proof = '', deployment = '', ...rest] = text.slice(MARK.length).split(':')
  try {
    return { proof, object: { deploymentId: decodeURIComponent(deployment), id: rest.join(':') } }
  } catch {
    // Nothing we ever wrote.
    return null
  }
}

/** The text in an id of ours, whatever its prefix; null for others. */
function decoded(id: string): string | null {
  const begin = id.lastIndexOf(BEGIN)
  if (begin < 0) return null
  const text = Buffer.from(id.slice(begin), 'base64url').toString('utf8')
  return text.startsWith(MARK) ? text : null
}

/** How MARK begins in base64: eleven characters make fourteen letters that do not depend on what follows. */
const BEGIN = Buffer.from(MARK).toString('base64url').slice(0, 14)
