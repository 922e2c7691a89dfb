/** A stage in a forked process, reached over the channel alone: `fork('forked-stage.js', [name, folder of the registry])`. */
import { ChildInterface } from '../../interfaces/child.js'
import { LocalRegistry, Stage } from '../../src/index.js'

const [name, folder] = process.argv.slice(2)
const stage = new Stage(name, new LocalRegistry(folder), new ChildInterface())
stage.to('*').provide({
  pid: () => process.pid,
  echo: (value: unknown) => value,
  ask: (peer: string) => stage.to(peer).call('pid'),
  end: () => process.exit(),
})
process.on('message', (message) => { if (message === 'mine') process.send?.('yours') })
process.on('disconnect', () => process.exit())
