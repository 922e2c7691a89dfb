import { StageError, describe } from '../../../src/errors.js'
import type { Mesh, Selection } from '../../../src/types.js'
import { dispose } from '../../codec/dispose.js'
import { call } from './call.js'
import type { Caller } from './invocation.js'
import type { Rpc } from '../rpc.js'

/** `namespace://peer/method`: en-masse's way to name a method anywhere. Each part may be percent-encoded. */
export async function callUri(mesh: Mesh<Rpc>, caller: Caller, uri: string, args: readonly unknown[]): Promise<unknown> {
  let found: { selection: Selection<Rpc>; method: string }
  try {
    found = parsed(mesh, uri)
  } catch (error) {
    dispose(args)
    throw error
  }
  return await call(caller, found.selection, found.method, args)
}

/** @throws StageError BAD_ARGUMENT · BAD_NAME · WRONG_NAMESPACE */
function parsed(mesh: Mesh<Rpc>, uri: string): { selection: Selection<Rpc>; method: string } {
  const parts = /^([^/]+):\/\/([^/]+)\/([^/]+)$/.exec(String(uri))
  if (!parts) throw new StageError('BAD_ARGUMENT', `${describe(uri)} is not a URI of a method: expected namespace://peer/method`)
  const [namespace, peer, method] = parts.slice(1).map((part) => decoded(part, uri)) as [string, string, string]
  if (namespace !== mesh.self.namespace) {
    throw new StageError('WRONG_NAMESPACE', `${describe(uri)} is in the namespace ${describe(namespace)}, but this stage can only reach its own, ${mesh.self.namespace}`)
  }
  return { selection: mesh.select(peer), method }
}

/** @throws StageError BAD_NAME */
function decoded(part: string, uri: string): string {
  try {
    return decodeURIComponent(part)
  } catch (cause) {
    const why = `${describe(part)} in ${describe(uri)} is not percent-encoded`
    throw new StageError('BAD_NAME', `${why}: pass each name through encodeURIComponent(), which writes a "%" as "%25"`, { cause })
  }
}
