import type { Target } from './provider.ts'

/** What a target is beside provider, model and address where no deployment says more: no settings, no limits, nothing dropped or allowed. */
export const PLAIN_TARGET: Omit<Target, 'provider' | 'model' | 'base'> = {
  apiVersion: null,
  dropParams: false,
  additionalDropParams: [],
  allowedOpenaiParams: [],
  maxOutputTokens: null,
  settings: {},
  clientHeaders: {},
}
