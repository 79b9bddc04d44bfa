import { expect } from 'chai';
import { z } from 'zod';
import { ERRORS } from '../../../control/lib/errors.ts';
import { startApi, type TestApi } from './api.ts';
import { resolved, type JsonSchema } from './openapi-check.ts';

describe('the OpenAPI document', () => {
  let api: TestApi;
  before(async () => {
    api = await startApi();
  });
  after(() => api.close());

  const operations = () =>
    Object.entries(api.document.paths).flatMap(([path, item]) =>
      Object.entries(item).map(([method, operation]) => ({ path, method, operation })),
    );

  it('is of version 3.1 and knows both kinds of keys', () => {
    expect(api.document.openapi).to.equal('3.1.0');
    expect(Object.keys(api.document.components.securitySchemes)).to.have.members([
      'ApplicationKey',
      'OperatorToken',
    ]);
  });

  it('has every endpoint of the contract that these rooms own', () => {
    expect(operations().map(({ method, path }) => `${method.toUpperCase()} ${path}`)).to.have.members([
      'GET /healthz',
      'GET /readyz',
      'POST /admin/v1/customers',
      'GET /admin/v1/customers',
      'GET /admin/v1/customers/{id}',
      'PATCH /admin/v1/customers/{id}',
      'POST /admin/v1/customers/{id}/applications',
      'GET /admin/v1/customers/{id}/applications',
      'GET /admin/v1/applications/{id}',
      'PATCH /admin/v1/applications/{id}',
      'POST /admin/v1/applications/{id}/rotate-key',
      'POST /v1/applications',
      'GET /v1/applications',
      'GET /v1/applications/{id}',
      'PATCH /v1/applications/{id}',
      'POST /v1/applications/{id}/rotate-key',
      'POST /v1/applications/{id}/rotate-webhook-secret',
      'GET /v1/dids/by-number/{e164}',
      'GET /v1/dids',
      'GET /v1/dids/{id}',
      'PATCH /v1/dids/{id}',
      'POST /admin/v1/dids',
      'POST /admin/v1/dids/bulk',
      'GET /admin/v1/dids',
      'GET /admin/v1/dids/{id}',
      'PATCH /admin/v1/dids/{id}',
      'DELETE /admin/v1/dids/{id}',
      'POST /v1/trunks',
      'GET /v1/trunks',
      'GET /v1/trunks/{id}',
      'PATCH /v1/trunks/{id}',
      'DELETE /v1/trunks/{id}',
      'POST /admin/v1/trunks',
      'GET /admin/v1/trunks',
      'GET /admin/v1/trunks/{id}',
      'PATCH /admin/v1/trunks/{id}',
      'DELETE /admin/v1/trunks/{id}',
      'POST /admin/v1/rates',
      'GET /admin/v1/rates',
      'POST /admin/v1/rates/import',
      'PATCH /admin/v1/rates/{id}',
      'DELETE /admin/v1/rates/{id}',
      'POST /admin/v1/customers/{id}/credits',
      'GET /admin/v1/customers/{id}/ledger',
      'GET /admin/v1/customers/{id}/balance',
      'GET /v1/usage',
      'GET /v1/balance',
    ]);
  });

  it('names each operation once, and declares every parameter of its path', () => {
    const ids = operations().map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).to.equal(ids.length);
    for (const { path, operation } of operations()) {
      const named = [...path.matchAll(/\{([^}]+)\}/g)].map((match) => match[1]);
      expect(
        operation.parameters?.filter((p) => p.in === 'path').map((p) => p.name) ?? [],
        path,
      ).to.deep.equal(named);
    }
  });

  it('asks for a key wherever the API does', () => {
    for (const { path, operation } of operations()) {
      const expected = path.startsWith('/admin/')
        ? [{ OperatorToken: [] }]
        : path.startsWith('/v1/')
          ? [{ ApplicationKey: [] }]
          : [];
      expect(operation.security, path).to.deep.equal(expected);
    }
  });

  it('holds only references that point somewhere and schemas that can be used', () => {
    const visit = (node: unknown): void => {
      if (typeof node !== 'object' || node === null) return;
      if ('pattern' in node && typeof node.pattern === 'string') {
        expect(() => new RegExp(String((node as JsonSchema).pattern)), node.pattern).to.not.throw();
        expect(node.pattern, 'a flag has no place in a JSON Schema pattern').to.not.match(/\/[a-z]+$/);
      }
      Object.values(node).forEach(visit);
    };
    for (const schema of Object.values(api.document.components.schemas))
      z.fromJSONSchema(resolved(schema, api.document) as JsonSchema);
    visit(resolved(api.document, api.document));
  });

  it('gives every error the status of the registry', () => {
    for (const { path, operation } of operations()) {
      for (const [status, response] of Object.entries(operation.responses)) {
        for (const code of Object.keys(response.content?.['application/json']?.examples ?? {})) {
          expect(String(ERRORS[code as keyof typeof ERRORS][0]), `${path} ${code}`).to.equal(status);
        }
      }
    }
  });
});
