/** The chain of a stage: its wrappers in order, its mounted layers, and the error of a chain that could not be built. */
import { StageError } from './errors.js'
import type { ChainItem } from './options.js'
import type { Layer, LinkEnd, Mesh, Mounted, Selection, Wrapper } from './types.js'

/** One wrapper of a chain under the name that both ends compare. */
export interface ChainLink {
  name: string
  wrap: Wrapper
  /** The library's own wrapper, which does not fail and passes on every end. */
  infallible: boolean
}

type Verb = NonNullable<Mounted['target']>[string]

/** A selection that each layer can see with its own output as the top of the links. */
interface Layered extends Selection {
  at(index: number): Selection
}

/**
 * Mounts a stage's chain: appends the wrappers to `chain`, in order, and returns `verbs` with the verbs that the layers give
 * to `to()`, which hide equal names.
 * @param mesh  the view of the stage for the layer at an index of the chain
 */
export function mountChain(
  items: readonly ChainItem[], chain: ChainLink[], mesh: (index: number) => Mesh, verbs: Readonly<Record<string, Verb>>,
): { mounted: readonly Mounted[]; verbs: Readonly<Record<string, Verb>> } {
  const mounted: Mounted[] = []
  const own: { index: number; target: Readonly<Record<string, Verb>> }[] = []
  let last = -1
  for (const [index, item] of items.entries()) {
    if (typeof item === 'function') chain.push({ name: item.name || '?', wrap: item as Wrapper, infallible: false })
    else if ('wrap' in item) chain.push({ name: item.name, wrap: item.wrap, infallible: false })
    else {
      const layer = (item as Layer).mount(mesh(index))
      mounted.push(layer)
      chain.push({
        name: item.name, infallible: (item as Layer).infallible ?? false,
        wrap: layer.wrap ?? ((stream, end) => { layer.attach?.(stream, end); return stream }),
      })
      if (layer.target) own.push({ index, target: layer.target })
      if (!layer.wrap) continue // the output of the layer below stays the top
    }
    last = index
  }
  const all = { ...verbs }
  for (const { index, target } of own) {
    for (const [name, verb] of Object.entries(target)) {
      // the output of the last layer is the top: there is nothing to look up for each call
      all[name] = index === last ? verb : (selection, ...args) => verb((selection as Layered).at(index), ...args)
    }
  }
  return { mounted, verbs: all }
}

/** @param name  the stage that was building the chain */
export function unbuilt(name: string, { peer, dialled }: LinkEnd, error: StageError | undefined): StageError {
  const dialler = dialled ? 'which it dialled' : 'which had dialled it'
  return new StageError('BAD_ARGUMENT', `${name} could not build its chain for ${peer.name} (${peer.id}), ${dialler}: ${error?.message}`, { cause: error?.cause, peer })
}
