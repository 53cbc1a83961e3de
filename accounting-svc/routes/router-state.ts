import type { Deployment } from '../../proto/deployment.ts'
import type { DeploymentReport } from '../../proto/routing.ts'
import type { FleetMember } from '../../shared/bus/bus.ts'
import type { RouterReport } from '../models/router-states.ts'

/** The answer of /router/state: every router of the fleet, and every deployment with what routers say of it, together and each. */
export function routerStateObject(
  fleet: readonly FleetMember[],
  reports: readonly RouterReport[],
  deployments: readonly Deployment[],
): { routers: Record<string, unknown>[]; deployments: Record<string, unknown>[] } {
  const byId = new Map<string, { routerId: string; report: DeploymentReport }[]>()
  for (const { routerId, deployments: told } of reports) {
    for (const report of told) byId.set(report.id, [...(byId.get(report.id) ?? []), { routerId, report }])
  }
  return {
    routers: fleet
      .filter(({ role }) => role === 'router')
      .map(({ id, age, fields }) => ({ id, age_ms: age, answered: reports.some(({ routerId }) => routerId === id), ...fields })),
    deployments: deployments.map(({ id, modelGroup, provider, model, blocked }) => {
      const told = byId.get(id) ?? []
      return {
        id,
        model_name: modelGroup,
        provider,
        model,
        blocked,
        ...together(told.map(({ report }) => report)),
        routers: Object.fromEntries(told.map(({ routerId, report }) => [routerId, shown(report)])),
      }
    }),
  }
}

function shown(report: DeploymentReport): Record<string, unknown> {
  return {
    in_flight: report.inFlight,
    requests_this_minute: report.requests,
    tokens_this_minute: report.tokens,
    successes: report.successes,
    failures: report.failures,
    cooldown_seconds: report.cooldownSeconds,
    ejected_seconds: report.ejectedSeconds,
    traffic_share: report.share,
    healthy: !report.unhealthy,
    health_error: report.error,
    latency_ms_per_token: report.latency,
    first_token_ms: report.firstToken,
    tokens_per_second: report.throughput,
  }
}

/**
 * All routers as one. Each of them counts what the others told it too, so that load is the most that any of them says; successes and failures
 * are each router's own.
 */
function together(reports: readonly DeploymentReport[]): Record<string, unknown> {
  const most = (read: (report: DeploymentReport) => number): number => Math.max(0, ...reports.map(read))
  const sum = (read: (report: DeploymentReport) => number): number => reports.reduce((total, one) => total + read(one), 0)
  const mean = (read: (report: DeploymentReport) => number | null): number | null => {
    const values = reports.map(read).filter((value) => value !== null)
    return values.length === 0 ? null : values.reduce((total, value) => total + value, 0) / values.length
  }
  const sick = reports.find(({ unhealthy }) => unhealthy)
  return {
    in_flight: most(({ inFlight }) => inFlight),
    requests_this_minute: most(({ requests }) => requests),
    tokens_this_minute: most(({ tokens }) => tokens),
    successes: sum(({ successes }) => successes),
    failures: sum(({ failures }) => failures),
    cooldown_seconds: most(({ cooldownSeconds }) => cooldownSeconds),
    ejected_seconds: most(({ ejectedSeconds }) => ejectedSeconds),
    healthy: sick === undefined,
    health_error: sick?.error ?? null,
    latency_ms_per_token: mean(({ latency }) => latency),
    first_token_ms: mean(({ firstToken }) => firstToken),
    tokens_per_second: mean(({ throughput }) => throughput),
  }
}
