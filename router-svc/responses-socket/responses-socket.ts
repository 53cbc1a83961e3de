import type { IncomingStream } from '../../shared/bus/bus.ts'
import type { Sealer } from '../../shared/config/secrets.ts'
import { carriedIds } from '../carried/ids.ts'
import { OWN } from '../responses/kept-response.ts'
import { ResponsesSession, type SessionDeps } from './session.ts'

export interface ResponsesSocketDeps extends Omit<SessionDeps, 'ownId'> {
  sealer: Pick<Sealer, 'sign'>
}

export interface ResponsesSockets {
  serve(incoming: IncomingStream, finished: () => void): void
  /** Ends each connection once its response is through, and whatever is left after a while. Milliseconds. */
  drain(limit: number): void
}

/** Serves the WebSocket of the Responses API: OpenAI's "WebSocket mode". */
export function createResponsesSocket(deps: ResponsesSocketDeps): ResponsesSockets {
  const sessions = new Set<ResponsesSession>()
  const all: SessionDeps = {
    ...deps,
    // An id of the gateway's own, so that a connection that has forgotten it looks for it nowhere else.
    ownId: ({ identity }, key) => carriedIds(identity, deps.sealer).encode('resp_', { deploymentId: OWN, id: key }),
  }
  return {
    serve(incoming, finished) {
      const session: ResponsesSession = new ResponsesSession(all, incoming, () => {
        sessions.delete(session)
        finished()
      })
      sessions.add(session)
      session.start()
    },
    drain(limit) {
      for (const session of [...sessions]) session.part()
      if (sessions.size === 0) return
      deps.clock.after(limit, () => {
        for (const session of [...sessions]) session.end()
      })
    },
  }
}
