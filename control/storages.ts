import { join } from 'node:path';
import type { Config } from './config.ts';
import { LocalStorage } from './recordings/local-storage.ts';
import { S3Storage } from './recordings/s3-storage.ts';

/** Where recordings are kept, and where earlier ones may be. */
export function storagesOf(config: Config): { local: LocalStorage; s3?: S3Storage } {
  const local = new LocalStorage(config.RECORDINGS_DIR ?? join(config.MEDIA_FILES_DIR, 'kept-recordings'));
  const {
    S3_BUCKET: bucket,
    S3_ACCESS_KEY_ID: accessKeyId,
    S3_SECRET_ACCESS_KEY: secretAccessKey,
    S3_REGION: region,
  } = config;
  if (!bucket || !accessKeyId || !secretAccessKey) return { local };
  const endpoint = config.S3_ENDPOINT ?? `https://s3.${region}.amazonaws.com`;
  return {
    local,
    s3: new S3Storage({
      endpoint,
      bucket,
      region,
      accessKeyId,
      secretAccessKey,
      pathStyle: config.S3_PATH_STYLE === 'true',
    }),
  };
}
