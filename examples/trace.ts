/**
 * A trace through calls, actors and passed functions, by one interceptor on both sides and a header: W3C `traceparent`,
 * `00-<trace>-<span>-01`. The library knows nothing of tracing; any other context can be propagated in the same way.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { randomBytes } from 'node:crypto'
import { pathToFileURL } from 'node:url'
import { Stage, type CallContext, type Interceptor, type Self } from 'stagemesh'

export interface Span { trace: string; id: string; parent: string | undefined; side: 'caller' | 'callee'; what: string }

const current = new AsyncLocalStorage<Span>()
const PARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$/

/** @param report  gets each span when it ends: an exporter, or a list */
export function tracing(report: (span: Span) => void): Interceptor {
  return async (call, next) => {
    // the parent is the current span at the caller, and the span from the header at the callee
    const above = call.side === 'caller' ? current.getStore() : undefined
    const [, trace, parent] = above ? ['', above.trace, above.id] : PARENT.exec(call.headers['traceparent'] ?? '') ?? []
    const span: Span = {
      trace: trace ?? randomBytes(16).toString('hex'),
      id: randomBytes(8).toString('hex'),
      parent,
      side: call.side,
      what: `${call.target} ${call.method}`,
    }
    try {
      return await current.run(span, next, { ...call, headers: { ...call.headers, traceparent: `00-${span.trace}-${span.id}-01` } })
    } finally {
      report(span)
    }
  }
}

// ── one request that goes through a handler, an actor and a function ────────────────────────────────────────────

async function main(): Promise<void> {
  const spans: Span[] = []
  const options = { registry: 'memory:', interceptors: [tracing((span) => spans.push(span))] }
  const [web, api, db] = ['web', 'api', 'db'].map((name) => new Stage(name, options)) as [Stage, Stage, Stage]
  db.to('*').provide('rows', async (each: (row: string) => Promise<void>) => { for (const row of ['ann', 'bob']) await each(row) })
  db.define({ pattern: 'carts.{id}', create: (_, self: Self) => ({ fill: () => self.to('db').call('rows', () => {}) }) })
  api.to('*').provide('list', async function (this: CallContext) {
    await this.to('db').call('rows', () => {})
    await this.actor('carts.1')['fill']()
  })
  await Promise.all([web, api, db].map((stage) => stage.ready()))

  await web.to('api').call('list')
  const depth = (span: Span): number => { const above = spans.find(({ id }) => id === span.parent); return above ? depth(above) + 1 : 0 }
  const show = (parent: string | undefined): void => {
    for (const span of spans.filter((one) => one.parent === parent)) {
      console.log(`${'  '.repeat(depth(span))}${span.side} ${span.what.replace(/\d+$/, 'n')}`)
      show(span.id)
    }
  }
  show(undefined)
  console.log(`${new Set(spans.map(({ trace }) => trace)).size} trace of ${spans.length} spans`)

  await Promise.all([web, api, db].map((stage) => stage.close()))
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main()
