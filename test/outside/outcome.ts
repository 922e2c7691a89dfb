import type { Socket } from 'node:net'
import { code, pause, type Program } from './program.js'
import type { Way } from './ways.js'

const ROW_MS = 30_000
/** The time that a stream may take to close after the program has ended. */
const CLOSE_MS = 1000

/** The events of one end of a connection, in order. */
class Journal {
  readonly events: string[] = []
  readonly closed: Promise<void>

  constructor(readonly end: string, stream: Socket) {
    for (const event of ['end', 'finish']) stream.on(event, () => { this.events.push(event) })
    stream.on('error', (error) => { this.events.push(`error ${code(error)}`) })
    this.closed = new Promise((resolve) => {
      stream.on('close', () => { this.events.push('close'); resolve() })
    })
  }

  toString(): string {
    return `${this.end}: ${this.events.join(', ')}`
  }
}

/** Runs a program over a way, and returns its outcome: the lines of the program, then the events of each end. */
export async function outcome(program: Program, way: Way, rowMs = ROW_MS): Promise<string[]> {
  const open = await way.open()
  const journals: Journal[] = []
  const watch = (end: string, stream: Socket): Socket => {
    journals.push(new Journal(end, stream))
    return stream
  }
  const run = program.run({
    dial: () => {
      const stream = open.dial()
      return stream instanceof Promise ? stream.then((it) => watch('dialled', it)) : watch('dialled', stream)
    },
    onconnection: (handler) => { open.onconnection((stream) => { handler(watch('accepted', stream)) }) },
  })
  const late = pause(rowMs).then(() => [`still running after ${rowMs} ms`])
  try {
    const lines = await Promise.race([run.catch((error: Error) => [`failed: ${error.stack}`]), late])
    await Promise.race([Promise.all(journals.map((one) => one.closed)), pause(CLOSE_MS)])
    // an event that comes after the last line must be recorded too
    await pause(10)
    return [...lines, ...journals.filter(({ end }) => end !== program.chance?.end).map(String).sort()]
  } finally {
    await open.close()
  }
}
