import { describe, it } from 'node:test'

import { runMalformedRequests } from '../support/malformed/run.ts'

const REQUESTS = 2_000
const SEED = 7950

describe('a daemon that gets malformed requests on all its ports', () => {
  it('answers in the form that each port promises, and goes on', async (t) => {
    await runMalformedRequests({ seed: SEED, requests: REQUESTS, tell: (line) => t.diagnostic(line) })
  })
})
