/** Two stages in a separate namespace, on the same registry as all others: they see only each other. */
import { Stage, StageError } from 'stagemesh'
import { expect, play, title } from './role.js'

const stage = new Stage('outsider')
const neighbour = new Stage('neighbour')
process.once('disconnect', () => void neighbour.close())

await play(stage, async () => {
  title(`7. A second namespace on the same registry: ${stage.namespace}`)
  await neighbour.ready()
  expect((await stage.to('neighbour').methods()).length === 0, 'the outsider finds its neighbour')
  const names = stage.peers().map((peer) => peer.name)
  expect(names.join() === 'neighbour', `its peers are: ${names.join(', ')}`)
  const error: unknown = await stage.to('greeter', { timeoutMs: 500 }).call('greet', 'outsider').catch((thrown: unknown) => thrown)
  const code = error instanceof StageError ? error.code : String(error)
  expect(code === 'NO_SUCH_PEER', `a call to greeter ends in ${code}`)
})
