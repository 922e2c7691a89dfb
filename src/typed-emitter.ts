/**
 * The types of an EventEmitter with known events. Messages of the compiler list the names of the events, as their type has no
 * name of its own; with Node's generic type they would not.
 */
import { EventEmitter } from 'node:events'

type Listener<Args> = Args extends readonly unknown[] ? (...args: Args) => void : never

/** An emitter of `Events`: lists of arguments by the names of the events. */
export interface TypedEmitter<Events> extends Omit<EventEmitter, 'on' | 'once' | 'off' | 'addListener' | 'removeListener' | 'prependListener' | 'prependOnceListener' | 'emit' | 'listenerCount'> {
  on<Name extends { [One in keyof Events]: One }[keyof Events]>(event: Name, listener: Listener<Events[Name]>): this
  once<Name extends { [One in keyof Events]: One }[keyof Events]>(event: Name, listener: Listener<Events[Name]>): this
  off<Name extends { [One in keyof Events]: One }[keyof Events]>(event: Name, listener: Listener<Events[Name]>): this
  addListener<Name extends { [One in keyof Events]: One }[keyof Events]>(event: Name, listener: Listener<Events[Name]>): this
  removeListener<Name extends { [One in keyof Events]: One }[keyof Events]>(event: Name, listener: Listener<Events[Name]>): this
  prependListener<Name extends { [One in keyof Events]: One }[keyof Events]>(event: Name, listener: Listener<Events[Name]>): this
  prependOnceListener<Name extends { [One in keyof Events]: One }[keyof Events]>(event: Name, listener: Listener<Events[Name]>): this
  emit<Name extends { [One in keyof Events]: One }[keyof Events]>(event: Name, ...args: Events[Name] extends readonly unknown[] ? Events[Name] : never): boolean
  listenerCount<Name extends { [One in keyof Events]: One }[keyof Events]>(event: Name, listener?: Listener<Events[Name]>): number
}

export const TypedEmitter = EventEmitter as unknown as new <Events>() => TypedEmitter<Events>
