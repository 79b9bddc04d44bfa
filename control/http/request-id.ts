import type { RequestHandler } from 'express';

const SANE = /^[A-Za-z0-9._:-]{1,64}$/;

/**
 * Gives every request an id: the client's own X-Request-Id where it is a sane one. It is in the reply's
 * header, in errors and in the log.
 */
export const requestIds =
  (next: () => string): RequestHandler =>
  (req, res, proceed) => {
    const sent = req.get('x-request-id');
    const id = sent !== undefined && SANE.test(sent) ? sent : next();
    res.locals.requestId = id;
    res.setHeader('X-Request-Id', id);
    proceed();
  };
