/** Makes bugs of user code visible at the stage that ran it: its caller may be elsewhere, and gets no stack. */
import { asError, describe, isStageError, printable, printableLines } from './errors.js'
import { log } from './log.js'
import { Often, andMore } from './often.js'
import type { StageEvents } from './options.js'
import { outside } from './outside.js'
import { isError } from './realm.js'
import type { Clock, FailedRun, Peer } from './types.js'

export interface FailuresOptions {
  clock: Clock
  /** Name of the stage. */
  name: string
  find(id: string): Peer | undefined
  /** Whether somebody listens to `failed`. */
  hears(): boolean
  tell(event: 'failed', ...args: StageEvents['failed']): void
}

const EVERY_MS = 60_000
/** The most warnings of one stage in that time: callers may choose the messages, such as those of a parser. */
const WARNINGS_MAX = 20
/** Texts may be as long as a caller likes, and are cut before anything is done with them. */
const TEXT_MAX = 1024
const STACK_MAX = 4096

/** An error as it is printed; every part was read once, as the error is the user's and may do anything when it is read. */
interface Told {
  readonly name: string
  readonly message: string
  /** The lines behind the message. */
  readonly frames: string
}

export class Failures {
  readonly #often: Often
  #since = -Infinity
  #warnings = 0

  constructor(private readonly options: FailuresOptions) {
    this.#often = new Often(options.clock, EVERY_MS)
  }

  report(thrown: unknown, { what, method, actor, from, unheard, over }: FailedRun): void {
    if (isStageError(thrown) && !unheard) return
    // reading an error may run getters of the user's, which must not see the context of whoever called
    const [error, told] = outside(() => { const made = asError(thrown); return [made, read(made)] as const })
    if (over && told.name === 'AbortError') return
    const peer = from === undefined ? undefined : this.options.find(from)
    // the code that runs now may be in the middle of a turn
    process.nextTick(() => {
      log(this.options.name, `${what} failed: ${told.message}`)
      if (this.options.hears()) this.options.tell('failed', error, { what, method, actor, peer })
      else this.#warn(what, error, told, peer)
    })
  }

  #warn(what: string, error: Error, told: Told, peer: Peer | undefined): void {
    const now = this.options.clock.now()
    if (now - this.#since >= EVERY_MS) {
      this.#since = now
      this.#warnings = 0
    }
    const more = this.#warnings > WARNINGS_MAX ? undefined : this.#often.passes(`${what.slice(0, TEXT_MAX)} ${told.message}`)
    if (more === undefined) return
    const { name } = this.options
    if (++this.#warnings > WARNINGS_MAX) {
      return warn(`more than ${WARNINGS_MAX} different failures on the stage ${name} within a minute: listen to its event \`failed\` to see them all`)
    }
    const caller = peer ? `, called by ${peer.name} (${peer.id}),` : ''
    warn(`${what}${caller} failed on the stage ${name}${andMore(more)}`, stackOf(error, told))
  }
}

const warn = (message: string, detail?: string): void => {
  process.emitWarning(printable(message), { type: 'StagemeshWarning', code: 'STAGEMESH_FAILED', ...(detail !== undefined && { detail }) })
}

/** An error and its cause: each on one line, as further lines could be taken for those of others, then where it was thrown. */
function stackOf(error: Error, told: Told): string {
  let cause: unknown
  try {
    ({ cause } = error)
  } catch {}
  const below = isError(cause) ? lines(read(cause)) : describe(cause)
  return `${lines(told)}${cause === undefined ? '' : `\n  cause: ${below}`}`.slice(0, 2 * STACK_MAX)
}

const lines = ({ name, message, frames }: Told): string => `${printable(`${name}: ${message}`)}${printableLines(frames)}`

function read(error: Error): Told {
  const part = (of: 'name' | 'message' | 'stack', max: number): string => {
    try {
      const value: unknown = error[of]
      return typeof value === 'string' ? value.slice(0, max) : describe(value)
    } catch {
      return 'unreadable'
    }
  }
  const [name, message, stack] = [part('name', TEXT_MAX), part('message', TEXT_MAX), part('stack', TEXT_MAX + STACK_MAX)]
  const head = `${name}: ${message}`
  const at = stack.startsWith(head) && message.length < TEXT_MAX ? head.length : stack.search(/\n +at /)
  return { name, message, frames: at < 0 ? '' : stack.slice(at, at + STACK_MAX) }
}
