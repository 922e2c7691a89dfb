/**
 * A layer of one's own: a verb of `to()` that tells who is meant, and to whom there is a link.
 * The same page, explained, is in `docs/extending.md`.
 */
import { pathToFileURL } from 'node:url'
import { Stage, framing, rpc, type Layer, type Target } from 'stagemesh'

export interface CensusVerbs {
  census(): { name: string; linked: boolean }[]
}

export function census(): Layer {
  return {
    name: 'census',
    mount: (mesh) => ({
      wrap: (stream) => stream,
      target: {
        census: (selection): ReturnType<CensusVerbs['census']> => {
          const linked = new Set([...mesh.links()].map((link) => link.peer.id))
          return selection.matches().map(({ id, name }) => ({ name, linked: linked.has(id) }))
        },
      },
    }),
  }
}

// ── above two layers of the default chain ───────────────────────────────────────────────────────────────────────

async function main(): Promise<void> {
  const chain = [framing(), rpc(), census()]
  const stages = ['api', 'db', 'web'].map((name) => new Stage(name, { registry: 'memory:', chain }))
  await Promise.all(stages.map((stage) => stage.ready()))
  const [, , web] = stages as [Stage, Stage, Stage]

  await web.to('api').methods() // makes a link
  const everybody = web.to('*', { self: false }) as Target & CensusVerbs
  for (const { name, linked } of everybody.census()) console.log(`${name}: ${linked ? 'linked' : 'not linked'}`)

  await Promise.all(stages.map((stage) => stage.close()))
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main()
