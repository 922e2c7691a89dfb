export const median = (all: readonly number[]): number => [...all].sort((a, b) => a - b)[all.length >> 1] as number
