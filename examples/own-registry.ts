/**
 * A registry of one's own: each namespace is a folder of JSON files, and every process that can write there takes part.
 * The same page, explained, is in `docs/extending.md`.
 */
import { randomUUID } from 'node:crypto'
import { link, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { Stage, StageError, type Registry } from 'stagemesh'
import type { Entry, Lease, View } from 'stagemesh/types'

/** One version of a namespace. Times are milliseconds since 1970. */
interface State {
  generation: string
  born: number
  listed: Record<string, { entry: Entry; ends: number }>
  lapsed: Record<string, number>
}

const POLL_MS = 100
/** A lapsed entry is taken out this long after its end. */
const GRACE_MS = 1500
const VERSIONS_KEPT = 100

export class FileRegistry implements Registry {
  readonly address: string
  readonly #closing = new AbortController()
  #queue: Promise<unknown> = Promise.resolve()

  constructor(private readonly folder: string) {
    this.address = `file:${folder}`
  }

  async publish(entry: Entry, ttlMs: number): Promise<Lease> {
    if (JSON.stringify(entry).length > 8192) throw new StageError('BAD_ARGUMENT', `the entry of ${entry.name} is too large: announce less`)
    let { generation, lost } = await this.#change(entry.namespace, (state) => {
      const other = holder(state, entry)
      if (other) {
        const by = `${other.entry.id} at ${other.entry.addresses.join(', ')}`
        const ms = Math.max(0, other.ends - Date.now())
        throw new StageError('NAME_TAKEN', `${entry.name} is taken by ${by} for ${ms} ms`)
      }
      const lost = entry.id in state.lapsed
      if (!lost) state.listed[entry.id] = { entry, ends: Date.now() + ttlMs }
      return { generation: state.generation, lost }
    })
    let inContact = Date.now()
    let lastBeat = inContact
    let closed = false
    return {
      renew: async (changed = entry) => {
        if (closed) throw new StageError('CLOSED', `the lease of ${entry.name} was closed`)
        const answer = await this.#change(entry.namespace, (state) => {
          const now = Date.now()
          const mine = state.listed[entry.id]
          // emptied since: whoever comes back within its TTL is listed again
          const reborn = state.generation !== generation && now - state.born <= ttlMs && !(entry.id in state.lapsed)
          generation = state.generation
          if (lost || (!mine && (!reborn || holder(state, entry)))) return 'lost'
          state.listed[entry.id] = { entry: changed, ends: now + ttlMs }
          // nobody judges others who was itself out of contact within the last TTL
          if (now - lastBeat > ttlMs) inContact = now
          lastBeat = now
          if (now - inContact >= ttlMs) sweep(state, now)
          return mine && mine.ends <= now ? 'late' : 'ok'
        })
        if (answer === 'lost') lost = true
        else entry = changed
        return answer
      },
      close: async () => {
        if (closed || lost) return
        closed = true
        await this.#change(entry.namespace, (state) => { delete state.listed[entry.id] })
      },
    }
  }

  async* watch(namespace: string, signal: AbortSignal): AsyncGenerator<View> {
    this.#check()
    const ending = AbortSignal.any([signal, this.#closing.signal])
    for (let seen = ''; !ending.aborted;) {
      const { version, state } = await this.#read(namespace)
      if (ending.aborted) return
      const key = `${state.generation} ${version}`
      if (key !== seen) {
        seen = key
        const entries = Object.values(state.listed).map(({ entry }) => entry)
        yield { generation: state.generation, entries, lapsed: Object.keys(state.lapsed) }
      }
      await sleep(POLL_MS, undefined, { signal: ending, ref: false }).catch(() => {})
    }
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await this.#queue
  }

  #check(): void {
    if (this.#closing.signal.aborted) throw new StageError('CLOSED', `the registry ${this.address} was closed`)
  }

  /** Runs `step` on the newest state and stores what it made of it; one at a time. It may run again, on a newer state. */
  #change<T>(namespace: string, step: (state: State) => T): Promise<T> {
    this.#check()
    const result = this.#queue.then(async () => {
      for (;;) {
        const { version, state } = await this.#read(namespace)
        if (version === 0) Object.assign(state, { generation: randomUUID(), born: Date.now() })
        const answer = step(state)
        if (await this.#write(namespace, version + 1, state)) return answer
      }
    }).catch((error: unknown) => {
      if (error instanceof StageError) throw error
      throw new StageError('REGISTRY_UNAVAILABLE', `${this.address}: ${String(error)}`, { cause: error })
    })
    this.#queue = result.catch(() => {})
    return result
  }

  async #read(namespace: string): Promise<{ version: number; state: State }> {
    for (;;) {
      const version = Math.max(0, ...await this.#versions(namespace))
      if (version === 0) return { version, state: { generation: '', born: 0, listed: {}, lapsed: {} } }
      const text = await readFile(join(this.folder, namespace, `${version}.json`), 'utf8').catch(absent)
      if (text !== undefined) return { version, state: JSON.parse(text) as State } // else it has been replaced in this moment
    }
  }

  /** The compare-and-set: a link to a version that is there already fails. @returns false when somebody was first, or emptied it */
  async #write(namespace: string, version: number, state: State): Promise<boolean> {
    await mkdir(join(this.folder, namespace), { recursive: true })
    const draft = join(this.folder, namespace, `${randomUUID()}.draft`)
    try {
      await writeFile(draft, JSON.stringify(state))
      await link(draft, join(this.folder, namespace, `${version}.json`))
    } catch (error) {
      if (['EEXIST', 'ENOENT'].includes((error as NodeJS.ErrnoException).code!)) return false
      throw error
    } finally {
      await rm(draft, { force: true })
    }
    const others = (await this.#versions(namespace)).filter((one) => one !== version)
    if (others.length > 0 && Math.min(...others) > version) { // so slow that its number had been used and cleared away
      await rm(join(this.folder, namespace, `${version}.json`), { force: true })
      return false
    }
    for (const old of others) if (old <= version - VERSIONS_KEPT) await rm(join(this.folder, namespace, `${old}.json`), { force: true })
    return true
  }

  async #versions(namespace: string): Promise<number[]> {
    const names = await readdir(join(this.folder, namespace)).catch(absent)
    return (names ?? []).map((name) => /^(\d+)\.json$/.exec(name)).flatMap((found) => found ? [Number(found[1])] : [])
  }
}

/** What is not there is nothing: anybody may empty the folder at any time. */
function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
}

/** Who has the name, where one of the two would have it alone. */
const holder = (state: State, { id, name, unique }: Entry): State['listed'][string] | undefined =>
  Object.values(state.listed).find(({ entry }) => entry.id !== id && entry.name === name && (entry.unique || unique))

function sweep(state: State, now: number): void {
  for (const [id, { ends }] of Object.entries(state.listed)) {
    if (ends + GRACE_MS > now) continue
    delete state.listed[id]
    state.lapsed[id] = now
  }
  for (const [id, at] of Object.entries(state.lapsed)) if (at + 60_000 < now) delete state.lapsed[id]
}

// ── two stages on it ────────────────────────────────────────────────────────────────────────────────────────────────

async function main(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'own-registry-'))
  const api = new Stage('api', { registry: new FileRegistry(folder) })
  api.to('*').provide('greet', (name: string) => `hi there, ${name}`)
  const web = new Stage('web', { registry: new FileRegistry(folder) })

  console.log(await web.to('api').call('greet', 'bob'))
  const { listed } = JSON.parse(await readFile(join(folder, 'default', '2.json'), 'utf8')) as State
  console.log(`listed: ${Object.values(listed).map(({ entry }) => entry.name).sort().join(', ')}`)

  await web.close()
  await api.close()
  await rm(folder, { recursive: true })
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main()
