/** Streams among the arguments and results of calls: the suite of streams in calls. */
import test from 'ava'
import { passed } from '../helpers/ends.js'
import { streamSuite } from '../suites/stream.js'

streamSuite(test, (t) => passed(t, true), { name: 'a stream that was an argument' })
streamSuite(test, (t) => passed(t, false), { name: 'a stream that was a result' })
