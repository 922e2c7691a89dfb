/** Many processes that share one folder of a machine with few cores. */
import { LocalRegistry, Stage } from '../../src/index.js'
import { carriers } from './carriers.js'
import { wait, type Child, type Common, type Here, type Measure, type Room } from './measure.js'

const SETTLE_S = 15
const IDLE_MS = 30_000
/** The part of a core that an idle process may use, in percent. */
const IDLE_SHARE = 0.3

type Member = {
  open(name: string): Promise<void>
  /** How many peers are known. */
  known(): number
  /** All are there: errors count from now on. */
  settled(): void
  /** Names that were declared dead, and errors of the stage. */
  outcome(): { dead: string[], errors: string[] }
}

export function orders(here: Here): Member {
  let stage: Stage
  const outcome = { dead: [] as string[], errors: [] as string[] }
  return {
    async open(name) {
      stage = new Stage(name, { registry: new LocalRegistry(here.place), interfaces: carriers[here.carrier]!.make() })
      stage.on('timeout', (peer) => outcome.dead.push(peer.name))
      stage.on('error', (error) => outcome.errors.push(error.message))
      // while two hundred stages begin on two cores, an attempt may take too long; the stage itself makes the next one
      for (let ready = false; !ready;) ready = await stage.ready().then(() => true, () => false)
    },
    settled() { outcome.errors.length = 0 },
    known: () => stage.peers().length,
    outcome: () => outcome,
  }
}

async function run(room: Room): Promise<void> {
  const count = room.quick ? 40 : 200
  const children: Child<Member & Common>[] = []
  const opened: Promise<void>[] = []
  const cpu = async (): Promise<number> => (await Promise.all(children.map((child) => child.ask('cpu')))).reduce((sum, one) => sum + one)
  const from = performance.now()
  // as many at a time as two cores can load, each of which begins at once
  for (let i = 0; i < count; i += 10) {
    const some = Array.from({ length: Math.min(10, count - i) }, () => room.start<Member>())
    children.push(...some)
    await Promise.all(some.map((child) => child.ask('cpu')))
    opened.push(...some.map((child, j) => child.ask('open', `member-${i + j}`)))
  }
  const started = performance.now()
  await Promise.all(opened)
  const ready = performance.now()
  while ((await Promise.all(children.map((child) => child.ask('known')))).some((known) => known !== count - 1)) await wait(200)
  room.note('the processes were started within', (started - from) / 1000, 's')
  room.note('all are ready() after that', (ready - started) / 1000, 's')
  room.atMost('all know all after that', (performance.now() - started) / 1000, SETTLE_S, 's')
  room.note('CPU of a process until then', await cpu() / count / 1000, 'ms')
  await wait(5000)
  await Promise.all(children.map((child) => child.ask('settled')))
  const before = await cpu()
  await wait(IDLE_MS)
  room.atMost('CPU of an idle process', (await cpu() - before) / count / IDLE_MS / 10, IDLE_SHARE, '% of a core')
  await wait(IDLE_MS)
  const outcomes = await Promise.all(children.map((child) => child.ask('outcome')))
  room.same('members that were declared dead', [...new Set(outcomes.flatMap(({ dead }) => dead))], [])
  room.same('errors of members', outcomes.flatMap(({ errors }) => errors).slice(0, 3), [])
  room.same('members that know all', (await Promise.all(children.map((child) => child.ask('known')))).filter((known) => known === count - 1).length, count)
}

export const crowd: Measure = { title: 'many processes settle on one folder, and cost little', seconds: [400, 180], run }
