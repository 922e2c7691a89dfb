import { printable } from './errors.js'

const said = new Set<string>()

/** Emits a process warning of type StagemeshWarning, unless this process has emitted the same one. */
export function warnOnce(text: string): void {
  if (said.has(text)) return
  said.add(text)
  process.emitWarning(printable(text), 'StagemeshWarning')
}
