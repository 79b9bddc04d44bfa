import { createHash, randomInt } from 'node:crypto';

const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const API_KEY = /^mv_live_[0-9A-Za-z]{32}$/;

/** A new key: 32 random base62 characters are 190 bits. */
export const newApiKey = (): string =>
  'mv_live_' + Array.from({ length: 32 }, () => BASE62[randomInt(62)]).join('');

export const isApiKey = (text: string): boolean => API_KEY.test(text);

/** What is stored of a key: its SHA-256 in hex. A random key needs no salt and no slow hash. */
export const hashApiKey = (key: string): string => createHash('sha256').update(key).digest('hex');
