/** All measures: the code of the measuring process, and the code of the other processes. */
import type { Here, Measure, Orders } from './measure.js'
import * as crowd from './crowd.js'
import * as million from './million.js'
import * as overload from './overload.js'
import * as p99 from './p99.js'
import * as rolling from './rolling.js'
import * as soak from './soak.js'
import * as stopped from './stopped.js'
import * as stream from './stream.js'
import * as watches from './watches.js'

export const measures: Readonly<Record<string, Measure>> = { stream: stream.stream, stopped: stopped.stopped, p99: p99.p99, overload: overload.overload, watches: watches.watches, crowd: crowd.crowd, rolling: rolling.rolling, million: million.million, soak: soak.soak }
export const parts: Readonly<Record<string, (here: Here) => Orders>> = { stream: stream.orders, stopped: stopped.orders, p99: p99.orders, overload: overload.orders, watches: watches.orders, crowd: crowd.orders, rolling: rolling.orders, million: million.orders, soak: soak.orders }
