/** What was asked for took too long. It may still come about. */
export class TookTooLong extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'TookTooLong';
  }
}

/**
 * What the promise comes to.
 * @throws TookTooLong when that takes more than `ms` milliseconds; how it fails later is of no interest then
 */
export async function within<T>(
  ms: number,
  promise: Promise<T>,
  message = `it took more than ${ms} ms`,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new TookTooLong(message)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
    promise.catch(() => undefined);
  }
}
