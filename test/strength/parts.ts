/** All measures: the code of the measuring process, and the code of the other processes. */
import type { Here, Measure, Orders } from './measure.js'
import * as overload from './overload.js'
import * as p99 from './p99.js'
import * as soak from './soak.js'
import * as stopped from './stopped.js'
import * as stream from './stream.js'
import * as watches from './watches.js'

export const measures: Readonly<Record<string, Measure>> = { stream: stream.stream, stopped: stopped.stopped, p99: p99.p99, overload: overload.overload, watches: watches.watches, soak: soak.soak }
export const parts: Readonly<Record<string, (here: Here) => Orders>> = { stream: stream.orders, stopped: stopped.orders, p99: p99.orders, overload: overload.orders, watches: watches.orders, soak: soak.orders }
