/** What a program of another realm makes, as in jest, vitest's vmThreads and `node:vm`: with globals of its own. */
import vm from 'node:vm'

const realm = vm.createContext({ Buffer })

/** Runs a text there. */
export const foreign = <T = unknown>(text: string): T => vm.runInContext(text, realm) as T
