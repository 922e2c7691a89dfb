/** Options of frames. */
export interface FramingOptions {
  /** Largest payload of one frame, in bytes; default 64 KiB and 512 bytes, from 256 to 1 MiB. The value must be the same at both ends. */
  maxFrameBytes?: number
}

/** Values for options that are left out. */
export const DEFAULTS = {
  /** 64 KiB plus the overhead of a call around its arguments, so that a value of 64 KiB fits into one frame. */
  maxFrameBytes: 64 * 1024 + 512,
} as const satisfies FramingOptions

const FRAME_LIMIT = 1024 * 1024

/** The checked `maxFrameBytes` of these options. @throws TypeError */
export function frameBytes({ maxFrameBytes = DEFAULTS.maxFrameBytes }: FramingOptions): number {
  if (Number.isInteger(maxFrameBytes) && maxFrameBytes >= 256 && maxFrameBytes <= FRAME_LIMIT) return maxFrameBytes
  throw new TypeError(`maxFrameBytes must be an integer of 256 to ${FRAME_LIMIT}, not ${String(maxFrameBytes)}`)
}
