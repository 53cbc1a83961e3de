import { DEFAULT_ROUTING, type RoutingSettings } from '../../proto/routing.ts'
import type { Config } from './config.ts'

/** `router_settings`, and what `litellm_settings` says where it is silent, as routers use them. */
export function routingOf(_config: Config): RoutingSettings {
  return DEFAULT_ROUTING
}
