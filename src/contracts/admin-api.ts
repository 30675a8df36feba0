import { z } from 'zod'

import { checks } from './admin/checks.ts'
import { find } from './admin/find.ts'
import { livez, metrics, readyz } from './admin/health.ts'
import { peers } from './admin/peers.ts'
import { quotas } from './admin/quota.ts'
import { settings } from './admin/settings.ts'
import { status } from './admin/status.ts'
import { warm } from './admin/warm.ts'
import { type AdminHandler, jsonCall, textCall } from './admin-contract.ts'

const page = textCall({
  method: 'GET',
  path: '/',
  summary: 'The state of this node as a page of text.',
  audience: 'anyone',
  errors: [],
})

const openapi = jsonCall({
  method: 'GET',
  path: '/api/v1/openapi.json',
  summary: 'This document.',
  audience: 'anyone',
  answer: z.looseObject({ openapi: z.literal('3.1.0') }),
  errors: [],
})

/** The calls of a metrics listener: nothing else is open to the network. */
export const PROBES = { livez, readyz, metrics } as const

/** Every call of the admin API. */
export const ADMIN_API = { ...PROBES, page, status, settings, quotas, peers, checks, find, warm, openapi } as const

export type AdminApi = typeof ADMIN_API

/** One handler for each call. */
export type AdminHandlers = { readonly [Name in keyof AdminApi]: AdminHandler<AdminApi[Name]> }
