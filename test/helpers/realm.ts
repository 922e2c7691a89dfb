/** Values that a program of another realm makes, as in jest, vitest's vmThreads and `node:vm`: with its own globals. */
import vm from 'node:vm'

const realm = vm.createContext({ Buffer })

/** Runs a text in that realm. */
export const foreign = <T = unknown>(text: string): T => vm.runInContext(text, realm) as T
