const OUT_OF_RANGE = new Set([1264, 1690]);

/** Whether a number was to be written that its column cannot hold (MySQL errors 1264 and 1690). */
export const outOfRange = (error: unknown): boolean =>
  error instanceof Error && 'errno' in error && OUT_OF_RANGE.has(Number(error.errno));
