import { createSequence } from '../../shared/sequence.ts'

/**
 * Hostile input from valid input, by a seed. Everything here is pure: the same seed makes the same bytes.
 */
export interface Random {
  /** 0 ≤ x < 1. */
  next(): number
  /** A whole number, 0 ≤ x < `below`. */
  int(below: number): number
  pick<Item>(items: readonly Item[]): Item
  chance(share: number): boolean
}

export function createRandom(seed: number): Random {
  const next = createSequence(seed)
  const int = (below: number): number => Math.floor(next() * below)
  return {
    next,
    int,
    pick: <Item>(items: readonly Item[]): Item => {
      if (items.length === 0) throw new Error('nothing to pick from')
      return items[int(items.length)] as Item
    },
    chance: (share) => next() < share,
  }
}

/** A JSON document that may say what no value of ours can: a name twice, half a surrogate, a number of 400 digits. */
export type Node =
  | { kind: 'object'; members: [name: string, value: Node][] }
  | { kind: 'array'; items: Node[] }
  | { kind: 'text'; text: string }

/** No case is larger, bytes: what is sought is odd, not big. */
const SIZE_MAX = 256 * 1024

/** JSON texts that stand where another belongs. */
const SCALARS: readonly string[] = [
  'null',
  'true',
  'false',
  '0',
  '-0',
  '-1',
  '1',
  '2',
  '1.5',
  '1e308',
  '-1e308',
  '1e309',
  '1e-400',
  '9007199254740993',
  '2147483648',
  '18446744073709551616',
  '1'.repeat(400),
  '""',
  '" "',
  '"0"',
  '"null"',
  '"true"',
  '"\\u0000"',
  '"\\ud800"',
  '"\\udc00\\ud800"',
  '"\\uffff\\ufeff"',
  '"💥"',
  '"__proto__"',
  '"constructor"',
  '"toString"',
  '"../../etc/passwd"',
  '"http://127.0.0.1:1/"',
  '"data:image/png;base64,!!!"',
  '"data:;base64,"',
  '"data:image/png;base64,iVBORw0KGgo="',
  '"{{7*7}}"',
  '"\' OR 1=1 --"',
  '"%00%s%n"',
  '[]',
  '{}',
  '[[]]',
  '[null]',
  '[{}]',
  '{"":null}',
  '{"__proto__":{"polluted":true}}',
  '{"constructor":{"prototype":{"polluted":true}}}',
  '{"toString":1,"valueOf":2,"length":-1}',
  '{"length":4294967296}',
  '{"then":{}}',
  '{"toJSON":1}',
  '[1,"a",null,{},[]]',
  'NaN',
  'Infinity',
  '01',
  '.5',
  "'a'",
  '"\n"',
  '',
]
/** Names an object has, or should never have. */
const NAMES: readonly string[] = [
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'valueOf',
  'hasOwnProperty',
  'length',
  'then',
  'toJSON',
  '',
  ' ',
  '0',
  '-1',
  '\u0000',
  '\ud800',
  'type',
  'role',
  'content',
  'stream',
  'model',
  'name',
  'id',
  'metadata',
  'text',
  'data',
  'url',
  'user',
  'n',
  'input',
  'tools',
  'parameters',
  'index',
]

function nodeOf(value: unknown): Node {
  if (Array.isArray(value)) return { kind: 'array', items: value.map(nodeOf) }
  if (typeof value === 'object' && value !== null)
    return { kind: 'object', members: Object.entries(value).map(([name, one]) => [name, nodeOf(one)]) }
  return { kind: 'text', text: JSON.stringify(value) ?? 'null' }
}

function textOf(node: Node): string {
  if (node.kind === 'text') return node.text
  if (node.kind === 'array') return `[${node.items.map(textOf).join(',')}]`
  return `{${node.members.map(([name, value]) => `${JSON.stringify(name)}:${textOf(value)}`).join(',')}}`
}

/** Every node below one, with how to put another in its place. */
function places(node: Node, put: (other: Node) => void, found: { node: Node; put: (other: Node) => void }[] = []): typeof found {
  found.push({ node, put })
  if (node.kind === 'array')
    for (const [at, item] of node.items.entries()) places(item, (other) => node.items.splice(at, 1, other), found)
  if (node.kind === 'object') {
    for (const member of node.members) {
      places(
        member[1],
        (other) => {
          member[1] = other
        },
        found,
      )
    }
  }
  return found
}

/** One change of a document, in place of a node of it. */
function changed(node: Node, random: Random, others: readonly { node: Node }[]): Node {
  const scalar = (): Node => ({ kind: 'text', text: random.pick(SCALARS) })
  if (node.kind === 'object' && random.chance(0.7)) {
    const { members } = node
    const at = random.int(members.length)
    const member = members[at]
    switch (member === undefined ? 4 : random.int(6)) {
      case 0:
        return { kind: 'object', members: members.toSpliced(at, 1) }
      case 1:
        // The same name twice, with another value.
        return { kind: 'object', members: [...members, [(member as [string, Node])[0], scalar()]] }
      case 2:
        return { kind: 'object', members: members.with(at, [random.pick(NAMES), (member as [string, Node])[1]]) }
      case 3:
        return { kind: 'object', members: members.with(at, [(member as [string, Node])[0], scalar()]) }
      case 4:
        return {
          kind: 'object',
          members: [...members, [random.pick(NAMES), random.chance(0.5) ? scalar() : random.pick(others).node]],
        }
      default:
        return { kind: 'object', members: members.toReversed() }
    }
  }
  if (node.kind === 'array' && random.chance(0.7)) {
    const { items } = node
    const at = random.int(items.length)
    switch (items.length === 0 ? 3 : random.int(4)) {
      case 0:
        return { kind: 'array', items: items.toSpliced(at, 1) }
      case 1:
        return { kind: 'array', items: Array.from({ length: random.pick([2, 10, 100, 1000]) }, () => items[at] as Node) }
      case 2:
        return { kind: 'array', items: items.toReversed() }
      default:
        return { kind: 'array', items: [...items, random.chance(0.5) ? scalar() : random.pick(others).node] }
    }
  }
  switch (random.int(8)) {
    case 0:
      return { kind: 'array', items: [node] }
    case 1:
      return { kind: 'object', members: [[random.pick(NAMES), node]] }
    case 2: {
      const depth = random.pick([10, 100, 1000, 20_000])
      const [open, close] = random.pick([
        ['[', ']'],
        ['{"a":', '}'],
      ] as const)
      return { kind: 'text', text: `${open.repeat(depth)}1${random.chance(0.9) ? close.repeat(depth) : ''}` }
    }
    case 3:
      return {
        kind: 'text',
        text: JSON.stringify(
          random.pick(['a', ' ', '\u0000', '<', '{', '💥', '\\', '\n']).repeat(random.pick([10, 1000, 60_000])),
        ),
      }
    case 4:
      return random.pick(others).node
    default:
      return scalar()
  }
}

/** A document from a valid value by one to five changes of its structure; now and then its bytes are changed too. */
export function mutateJson(value: unknown, random: Random): Uint8Array {
  let root = nodeOf(value)
  for (let left = 1 + random.int(random.chance(0.3) ? 5 : 2); left > 0; left -= 1) {
    const all = places(root, (other) => {
      root = other
    })
    // The whole is rarely what is changed: nothing behind the first check would be reached.
    const place = all[random.chance(0.03) ? 0 : random.int(all.length)] as (typeof all)[number]
    const other = structuredClone(changed(place.node, random, all))
    const before = textOf(root)
    place.put(other)
    if (textOf(root).length > SIZE_MAX) return Buffer.from(before, 'utf8')
  }
  const bytes = Buffer.from(textOf(root), 'utf8')
  return random.chance(0.1) ? mutateBytes(bytes, random) : bytes
}

/** Bytes that mean something to some reader. */
const PIECES: readonly string[] = [
  '\n',
  '\r\n',
  '\r',
  '\n\n',
  '\r\n\r\n',
  '\0',
  ':',
  ' ',
  '\t',
  ';',
  ',',
  '=',
  '"',
  '{',
  '}',
  '[',
  ']',
  '[DONE]',
  'data: ',
  'data:',
  'event: ',
  'id: ',
  'retry: 1\n',
  ': ping\n\n',
  'data: [DONE]\n\n',
  'data: {}\n\n',
  'data: null\n\n',
  'data: [1]\n\n',
  'data: {"error":{"message":"m"}}\n\n',
  '{"error":"e"}\n',
  'null\n',
  '\ufeff',
  '\u2028',
  '0',
  '-1',
  '4294967296',
  '1e999',
  'null',
  'true',
  '\\',
  '\\u0000',
  '\\ud800',
]
const BYTES: readonly number[] = [0, 1, 0x7f, 0x80, 0xff, 0xfe, 0xc0, 0xed, 0xf8, 0x0a, 0x0d, 0x20, 0x22]

/** Bytes from valid bytes by one to six changes: flips, cuts, repeats, and pieces that mean something. */
export function mutateBytes(bytes: Uint8Array, random: Random): Uint8Array {
  let held = Buffer.from(bytes)
  for (let left = 1 + random.int(random.chance(0.3) ? 6 : 2); left > 0; left -= 1) {
    const at = random.int(held.length + 1)
    const length = Math.min(held.length - at, 1 + random.int(random.pick([4, 16, 200])))
    const [before, part, after] = [held.subarray(0, at), held.subarray(at, at + length), held.subarray(at + length)]
    const parts = (...list: Uint8Array[]): Buffer<ArrayBuffer> => Buffer.concat(list)
    switch (random.int(8)) {
      case 0:
        held = Buffer.from(held)
        if (at < held.length) held[at] = (held[at] as number) ^ (1 << random.int(8))
        break
      case 1:
        held = parts(before, Buffer.of(random.pick(BYTES)), after)
        break
      case 2:
        held = parts(before, after)
        break
      case 3:
        held = parts(before, part, part, after)
        break
      case 4:
        held = parts(before, Buffer.from(random.pick(PIECES)), part, after)
        break
      case 5:
        held = Buffer.from(random.chance(0.5) ? held.subarray(0, at) : held.subarray(at))
        break
      case 6: {
        // A piece from elsewhere.
        const from = random.int(held.length + 1)
        held = parts(before, held.subarray(from, from + 1 + random.int(200)), after)
        break
      }
      default:
        held = parts(before, ...Array.from({ length: random.pick([2, 20, 200]) }, () => part), after)
    }
    if (held.length > SIZE_MAX) held = Buffer.from(held.subarray(0, SIZE_MAX))
  }
  return held
}

/** Bytes cut into pieces at random places. */
export function cutAtRandom(bytes: Uint8Array, random: Random): Uint8Array[] {
  const pieces: Uint8Array[] = []
  for (let at = 0; at < bytes.length; ) {
    const length = 1 + random.int(random.pick([1, 10, 100, 5000]))
    pieces.push(bytes.subarray(at, at + length))
    at += length
  }
  return pieces
}
