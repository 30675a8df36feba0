import { STATUS_CODES } from 'node:http'

import { z } from 'zod'

import { OCI_ERRORS, type OciErrorCode } from '../oci/errors.ts'
import { VERSION } from '../version.ts'
import { ADMIN_API } from './admin-api.ts'
import type { AdminCall } from './admin-contract.ts'

type JsonSchema = z.core.JSONSchema.JSONSchema

export interface OpenApiDocument {
  [key: string]: unknown
  readonly openapi: '3.1.0'
  readonly paths: Readonly<Record<string, Readonly<Record<string, object>>>>
}

const ERROR_SCHEMA = {
  type: 'object',
  required: ['errors'],
  properties: {
    errors: {
      type: 'array',
      minItems: 1,
      items: {
        type: 'object',
        required: ['code', 'message'],
        properties: { code: { type: 'string' }, message: { type: 'string' }, detail: {} },
      },
    },
  },
}

/** The admin API as an OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.0), generated from its contracts. */
export function openApiDocument(): OpenApiDocument {
  const paths: Record<string, Record<string, object>> = {}
  for (const [name, call] of Object.entries(ADMIN_API) as [string, AdminCall][])
    paths[call.path] = { ...paths[call.path], [call.method.toLowerCase()]: operation(name, call) }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Nabo admin API',
      version: VERSION,
      description:
        'Served on the admin listener and, in full, on the Unix socket of --admin-socket. Errors have the shape of the OCI distribution API.',
    },
    paths,
  }
}

function operation(name: string, call: AdminCall): object {
  const { summary, audience, query, body, errors } = call
  return {
    operationId: name,
    summary,
    ...(audience === 'operator' ? { description: 'Answered on the Unix socket only.' } : {}),
    ...(query === undefined ? {} : { parameters: parametersOf(schemaOf(query)) }),
    ...(body === undefined
      ? {}
      : { requestBody: { required: true, content: { 'application/json': { schema: schemaOf(body.schema) } } } }),
    responses: {
      ...answersOf(call),
      ...errorsOf([...errors, ...(body === undefined ? [] : (['UNSUPPORTED'] as const))]),
    },
  }
}

function answersOf(call: AdminCall): Record<string, object> {
  switch (call.format) {
    case 'json': {
      const content = { 'application/json': { schema: schemaOf(call.answer) } }
      const statuses = call.statuses?.all ?? [200]
      return Object.fromEntries(
        statuses.map((status) => [status, { description: STATUS_CODES[status] ?? '', content }]),
      )
    }
    case 'lines':
      return {
        200: {
          description: 'One JSON value per line',
          content: { 'application/x-ndjson': { schema: schemaOf(call.line) } },
        },
      }
    case 'text':
      return { 200: { description: 'Text', content: { 'text/plain': { schema: { type: 'string' } } } } }
  }
}

function errorsOf(codes: readonly OciErrorCode[]): Record<string, object> {
  const byStatus = Map.groupBy(new Set(codes), (code) => (code === 'UNSUPPORTED' ? 400 : OCI_ERRORS[code].status))
  return Object.fromEntries(
    [...byStatus].map(([status, same]) => [
      status,
      { description: same.join(', '), content: { 'application/json': { schema: ERROR_SCHEMA } } },
    ]),
  )
}

function parametersOf({ properties = {}, required = [] }: JsonSchema): object[] {
  return Object.entries(properties).map(([name, schema]) => ({
    name,
    in: 'query',
    required: required.includes(name),
    schema,
  }))
}

/** The JSON that travels, which is the input of a codec. */
function schemaOf(schema: z.ZodType): JsonSchema {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: 'input', target: 'draft-2020-12' })
  return rest
}
