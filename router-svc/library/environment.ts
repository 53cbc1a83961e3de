import process from 'node:process'
import type { Environment } from '../../shared/config/references.ts'

/**
 * The environment of the program that uses this library: whoever calls `completion` without a router of their own has said nothing else about
 * where keys are. Read when a call needs it, so that what the program sets before counts.
 */
export function processEnvironment(): Environment {
  return process.env
}
