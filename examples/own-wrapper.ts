/**
 * A wrapper of one's own: every byte is mixed with a key, in both directions.
 * The same page, explained, is in `docs/extending.md`.
 */
import { Duplex, type Transform, type TransformCallback } from 'node:stream'
import { pathToFileURL } from 'node:url'
import pump from 'pump'
import through2 from 'through2'
import { Stage, framing, rpc, type Wrapper } from 'stagemesh'
void [Duplex, pump, through2, Stage, framing, rpc, pathToFileURL]
export type X = [Transform, TransformCallback, Wrapper]
