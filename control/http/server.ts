import express, {
  type ErrorRequestHandler,
  type Express,
  type Request,
  type RequestHandler,
  type Response,
} from 'express';
import helmet from 'helmet';
import { ApiError } from '../lib/errors.ts';
import { groupBy } from '../lib/group-by.ts';
import type { Logger } from '../lib/logger.ts';
import { refuseInactive, type Authenticator } from './auth.ts';
import { Buckets } from './buckets.ts';
import { docsPage } from './docs/page.ts';
import { sendDownload, type Download } from './download.ts';
import { BODY_LIMIT_BYTES, TEXT_LIMIT_BYTES, type Caller, type Endpoint } from './endpoint.ts';
import { errorReply, type Reply } from './errors.ts';
import { healthRoutes, type ReadinessCheck } from './health.ts';
import type { Idempotency } from './idempotency.ts';
import { parseJsonBody } from './json-body.ts';
import { timeRequests, type Registry } from './metrics.ts';
import { openApiDocument } from './openapi.ts';
import { requestIds } from './request-id.ts';
import { refuse, type RequestLimits } from './request-limits.ts';
import type { EventDoc, RequestDoc } from './sent-requests.ts';

export interface ApiDependencies {
  endpoints: readonly Endpoint[];
  /** What customers are sent and asked, for the documentation. */
  events?: readonly EventDoc[];
  requests?: readonly RequestDoc[];
  authenticator: Authenticator;
  idempotency: Idempotency;
  readiness: readonly ReadinessCheck[];
  limits: RequestLimits;
  registry: Registry;
  logger: Logger;
  /** Makes the id of a request that brings none. */
  requestId: () => string;
  version: string;
  publicUrl?: string;
}

/**
 * The REST API: every endpoint, the health and documentation pages, and one answer for whatever is none of
 * them.
 */
export function createApi(deps: ApiDependencies): Express {
  const { authenticator, idempotency, limits, logger, registry } = deps;
  const endpoints = [...healthRoutes(deps.readiness, logger), ...deps.endpoints];
  const document = openApiDocument(endpoints, deps);
  const page = docsPage(document);

  const app = express();
  app.disable('x-powered-by').disable('etag').enable('case sensitive routing');
  app.use(requestIds(deps.requestId), timeRequests(registry), helmet(), (req, res, next) => {
    const address = limits.addressOf(req);
    res.locals.address = address;
    limits.address(address);
    next();
  });

  for (const endpoint of endpoints) app[endpoint.method](endpoint.path, handler(endpoint));
  app.get('/openapi.json', named('/openapi.json'), (_req, res) => void res.json(document));
  app.get('/docs', named('/docs'), (_req, res) => void res.type('html').send(page));
  app.get('/', named('/'), (_req, res) => void res.redirect('docs'));

  const pages = [
    { path: '/openapi.json', method: 'get' },
    { path: '/docs', method: 'get' },
    { path: '/', method: 'get' },
  ];
  for (const [path, same] of groupBy([...endpoints, ...pages], (e) => e.path)) {
    const allowed = same.map((e) => e.method.toUpperCase()).join(', ');
    app.all(path, named(path), (_req, res) => {
      res.setHeader('Allow', allowed);
      throw new ApiError('method_not_allowed');
    });
  }
  app.use(() => {
    throw new ApiError('not_found', 'there is nothing at this path');
  });

  const onError: ErrorRequestHandler = (error, _req, res, next) => {
    if (res.headersSent)
      next(error); // express then closes the connection
    else send(res, errorReply(error, requestIdOf(res), logger));
  };
  app.use(onError);
  return app;

  /**
   * In this order: who asks, is the body readable, is it valid, may they, has it been done already (contract
   * §7).
   */
  function handler(endpoint: Endpoint): RequestHandler {
    const { perMinute = 0 } = endpoint;
    const own = new Buckets({ perSecond: perMinute / 60, atOnce: perMinute });
    return async (req, res) => {
      res.locals.path = endpoint.path;
      const requestId = requestIdOf(res);
      const caller = await authenticator.authenticate(
        endpoint.auth,
        req.get('authorization'),
        String(res.locals.address),
      );
      if (caller?.kind === 'customer') limits.key(caller.applicationId);
      const body = endpoint.body ? await readBody(req, res, endpoint.consumes) : undefined;
      const run = endpoint.prepare({ params: req.params, query: req.query, body, caller, requestId });
      refuseInactive(endpoint, caller);
      if (caller?.kind === 'customer')
        refuse(own.take(caller.applicationId), `this can be asked ${perMinute} times a minute`);
      const key = endpoint.method === 'post' && caller ? req.get('idempotency-key') : undefined;
      if (endpoint.produces !== undefined) {
        await sendDownload(req, res, (await run()) as Download, endpoint.produces, logger);
        return;
      }
      if (key === undefined || !caller) {
        send(res, { status: endpoint.status, body: await run() });
        return;
      }
      const fingerprint = JSON.stringify([req.method, req.originalUrl, body]);
      const reply = await idempotency.run({ scope: scopeOf(caller), key, fingerprint }, async () => {
        try {
          return { status: endpoint.status, body: await run() };
        } catch (error) {
          return errorReply(error, requestId, logger);
        }
      });
      if (reply.replayed) res.setHeader('Idempotency-Replayed', 'true');
      send(res, reply);
    };
  }
}

const readBytes = express.raw({ limit: BODY_LIMIT_BYTES, type: () => true });

const parseText = express.text({ limit: TEXT_LIMIT_BYTES, type: 'text/*' });

/** The parsed body, or `{}` where none was sent. @throws what errors.ts knows of the body parser. */
async function readBody(req: Request, res: Response, consumes?: Endpoint['consumes']): Promise<unknown> {
  if (req.get('transfer-encoding') === undefined && !Number(req.get('content-length')))
    return consumes ? '' : {};
  if (!req.is(consumes ?? 'application/json'))
    throw new ApiError('unsupported_media_type', consumes && `the body must be ${consumes}`);
  await new Promise<void>((resolve, reject) => {
    (consumes ? parseText : readBytes)(req, res, (error?: unknown) => {
      if (error === undefined) resolve();
      else
        reject(
          tooLarge(error) && consumes
            ? new ApiError('payload_too_large', 'the body is larger than 2 MiB')
            : (error as Error),
        );
    });
  });
  const body: unknown = req.body;
  if (consumes) return body ?? {};
  if (!Buffer.isBuffer(body) || body.length === 0) return {};
  const charset = /;\s*charset\s*=\s*"?([^";\s]+)/i.exec(req.get('content-type') ?? '')?.[1] ?? 'utf-8';
  if (!/^(utf-?8|us-ascii)$/i.test(charset))
    throw new ApiError('unsupported_media_type', 'the body must be application/json in UTF-8');
  return parseJsonBody(body);
}

const tooLarge = (error: unknown): boolean =>
  error instanceof Error && 'type' in error && error.type === 'entity.too.large';

function send(res: Response, reply: Reply): void {
  // Replies hold what is shown once, and what only this caller may see.
  res.status(reply.status).setHeader('Cache-Control', 'no-store');
  for (const [name, value] of Object.entries(reply.headers ?? {})) res.setHeader(name, value);
  if (reply.body === undefined) res.end();
  else res.json(reply.body);
}

const named =
  (path: string): RequestHandler =>
  (_req, res, next) => {
    res.locals.path = path;
    next();
  };

const requestIdOf = (res: Response): string => String(res.locals.requestId);
const scopeOf = (caller: Exclude<Caller, undefined>): string =>
  caller.kind === 'customer' ? caller.applicationId : 'operator';
