/**
 * Characters that control a terminal, break a line or change its direction: C0, DEL, C1, line separators, bidi controls, an
 * unpaired surrogate.
 */
export const HOSTILE = 'a\x1b[31mb\x1b]0;title\x07\r\bc\x7f\x9b2J\u0085\n\td\u2028\u2029\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ud800e'

/** Matches characters that may not be printed: in a message of one line, and in a message that may have several lines. */
export const STEERING = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}]/u
export const STEERING_BUT_LINES = /[^\P{Cc}\n\t]|[\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}]/u
