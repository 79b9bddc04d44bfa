import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import * as aws4 from 'aws4';
import S3rver from 's3rver';

const KEY = 'S3RVER'; // the one account s3rver has
const SECRET = 'S3RVER';

/**
 * An S3 server on a free port. It does not check signatures of version 4 itself, so what reaches it goes
 * through a guard that does, with a library that had no part in making them, and that checks the body against
 * the signed SHA-256.
 */
export async function startS3(bucket: string) {
  const directory = await mkdtemp(join(tmpdir(), 's3-'));
  const s3 = new S3rver({
    directory,
    silent: true,
    configureBuckets: [{ name: bucket, configs: [] }],
    vhostBuckets: false,
  });
  await s3.configureBuckets();
  const inner = s3.callback();
  const state = {
    requests: [] as string[],
    /** Answers this instead, while set. */ failWith: undefined as number | undefined,
    hang: false,
  };

  const guard = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    const body = await buffer(req);
    state.requests.push(`${req.method} ${req.url}`);
    if (state.hang) return;
    if (state.failWith !== undefined)
      return void res.writeHead(state.failWith).end('<Error><Code>SlowDown</Code></Error>');
    const problem = problemOf(req, body);
    if (problem) return void res.writeHead(403).end(`<Error><Code>${problem}</Code></Error>`);
    // The body has been read here; the server behind reads it again, from what stands in for the request.
    inner(
      Object.assign(Readable.from(body.length > 0 ? [body] : []), {
        method: req.method,
        url: req.url,
        headers: req.headers,
        rawHeaders: req.rawHeaders,
        socket: req.socket,
        httpVersion: req.httpVersion,
        httpVersionMajor: 1,
        httpVersionMinor: 1,
      }) as unknown as IncomingMessage,
      res,
    );
  };
  const server = createServer((req, res) => {
    guard(req, res).catch(() => res.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    state,
    options: {
      endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      bucket,
      region: 'eu-test-1',
      accessKeyId: KEY,
      secretAccessKey: SECRET,
      pathStyle: true,
    },
    async close(): Promise<void> {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await rm(directory, { recursive: true });
    },
  };
}

function problemOf(req: IncomingMessage, body: Buffer): string | undefined {
  const [, credential = '', names = '', signature] =
    /^AWS4-HMAC-SHA256 Credential=([^,]+), SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$/.exec(
      req.headers.authorization ?? '',
    ) ?? [];
  const [accessKeyId, , region] = credential.split('/');
  if (accessKeyId !== KEY) return 'InvalidAccessKeyId';
  const headers = Object.fromEntries(
    names.split(';').map((name) => [name === 'host' ? 'Host' : name, String(req.headers[name])]),
  );
  if (headers['x-amz-content-sha256'] !== createHash('sha256').update(body).digest('hex'))
    return 'XAmzContentSHA256Mismatch';
  headers['X-Amz-Date'] = headers['x-amz-date'] ?? '';
  headers['X-Amz-Content-Sha256'] = headers['x-amz-content-sha256'] ?? '';
  delete headers['x-amz-date'];
  delete headers['x-amz-content-sha256'];
  const signed = aws4.sign(
    { service: 's3', region, method: req.method, path: req.url, headers },
    { accessKeyId: KEY, secretAccessKey: SECRET },
  );
  return String(signed.headers?.['Authorization']).endsWith(`Signature=${signature}`)
    ? undefined
    : 'SignatureDoesNotMatch';
}
