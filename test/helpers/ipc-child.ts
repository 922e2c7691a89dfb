/**
 * A process that listens at a path: `node ipc-child.js [path]`. It begins on request, and writes its process id to each
 * stream.
 */
import { IpcInterface } from '../../interfaces/ipc.js'
import { asError } from '../../src/errors.js'

const path = process.argv[2]
process.once('disconnect', () => process.exit())
process.once('message', () => {
  new IpcInterface({ path }).listen((stream) => stream.write(String(process.pid))).then(
    ([address]) => process.send?.({ address }),
    (error: unknown) => process.send?.({ error: asError(error).message }),
  )
})
process.send?.('here')
