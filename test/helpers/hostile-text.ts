/** What a terminal would obey, break a line at, or be turned around by: C0, DEL, C1, line separators, bidi controls, half a pair. */
export const HOSTILE = 'a\x1b[31mb\x1b]0;title\x07\r\bc\x7f\x9b2J\u0085\n\td\u2028\u2029\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ud800e'

/** What none of it is: of a message that has one line, and of one that may have more. */
export const STEERING = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}]/u
export const STEERING_BUT_LINES = /[^\P{Cc}\n\t]|[\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}]/u
