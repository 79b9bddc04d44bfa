import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Request, Response } from 'express';
import { ApiError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';

/** Bytes for a client, which may want a part of them only. */
export interface Download {
  sizeBytes: number;
  /** What it is saved as: letters, digits, `._-`. */
  fileName: string;
  /** Names this content; another content never has the same one. */
  tag: string;
  /** Opens a part, from `start` to `end`, both counted. @throws ApiError */
  open(range: { start: number; end: number }): Promise<Readable>;
}

/**
 * Answers GET and HEAD, single ranges included (RFC 9110 §14). Several ranges in one request, or what is no
 * range of bytes, get the whole, as it is allowed to.
 * @throws ApiError `range_not_satisfiable`, and what `open` throws: nothing has been sent then
 */
export async function sendDownload(
  req: Request,
  res: Response,
  content: Download,
  type: string,
  logger: Logger,
): Promise<void> {
  const { sizeBytes, tag } = content;
  const etag = `"${tag}"`;
  const ifRange = req.get('if-range');
  // Ranges are defined for GET alone, and for the very content the client has the beginning of.
  const wanted =
    req.method === 'GET' && (ifRange === undefined || ifRange === etag)
      ? parseRange(req.get('range'), sizeBytes)
      : undefined;
  if (wanted === 'unsatisfiable') {
    res.setHeader('Content-Range', `bytes */${sizeBytes}`);
    throw new ApiError('range_not_satisfiable');
  }
  const range = wanted ?? { start: 0, end: sizeBytes - 1 };
  const body = req.method === 'HEAD' ? undefined : await content.open(range);
  res.status(wanted ? 206 : 200).setHeader('Content-Type', type);
  res.setHeader('Content-Length', range.end - range.start + 1);
  res.setHeader('Content-Disposition', `inline; filename="${content.fileName}"`);
  res.setHeader('Accept-Ranges', 'bytes');
  res.setHeader('ETag', etag);
  res.setHeader('Cache-Control', 'private, no-store');
  if (wanted) res.setHeader('Content-Range', `bytes ${range.start}-${range.end}/${sizeBytes}`);
  if (!body) {
    res.end();
    return;
  }
  try {
    await pipeline(body, res);
  } catch (error) {
    // The connection is closed by now: the client has gone, or learns from the missing bytes that the source
    // has failed.
    logger.debug({ err: error, request_id: String(res.locals.requestId) }, 'a download ended early');
  }
}

/** The range a header asks for; undefined where the whole is to be sent. */
export function parseRange(
  header: string | undefined,
  size: number,
): { start: number; end: number } | 'unsatisfiable' | undefined {
  const match = /^bytes=\s*(\d*)\s*-\s*(\d*)\s*$/i.exec(header ?? '');
  const [, first = '', last = ''] = match ?? [];
  if (first === '' && last === '') return undefined;
  if (first === '') {
    const length = Math.min(Number(last), size);
    return length === 0 ? 'unsatisfiable' : { start: size - length, end: size - 1 };
  }
  const start = Number(first);
  const end = last === '' ? size - 1 : Math.min(Number(last), size - 1);
  if (last !== '' && Number(last) < start) return undefined; // not a range at all
  return start >= size ? 'unsatisfiable' : { start, end };
}
