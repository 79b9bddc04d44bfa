import type { RequestHandler } from 'express';
import { collectDefaultMetrics, Histogram, Registry } from 'prom-client';

export type { Registry };

/** A registry that already holds the process's own figures; rooms add theirs to it. One per process. */
export function createRegistry(): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  return registry;
}

/**
 * Times every request. `path` is the endpoint's pattern, never what the client typed, so that the number of
 * series has an end.
 */
export function timeRequests(registry: Registry): RequestHandler {
  const histogram = new Histogram({
    name: 'minivoice_http_request_duration_seconds',
    help: 'Time from a request of the REST API to the end of its reply',
    labelNames: ['method', 'path', 'status'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [registry],
  });
  return (req, res, next) => {
    const stop = histogram.startTimer();
    res.once('close', () => {
      const path: unknown = res.locals.path;
      stop({
        method: METHODS.has(req.method) ? req.method : 'OTHER',
        path: typeof path === 'string' ? path : 'unknown',
        status: res.writableFinished ? String(res.statusCode) : 'aborted',
      });
    });
    next();
  };
}

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PATCH', 'PUT', 'DELETE', 'OPTIONS']);
