import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { Command, Option } from 'commander'

import { addConfigure } from '../../src/cli/configure.ts'
import { addDoctor } from '../../src/cli/doctor.ts'
import { addFind } from '../../src/cli/find.ts'
import { addPeers } from '../../src/cli/peers.ts'
import { addPull } from '../../src/cli/pull.ts'
import { addRestore } from '../../src/cli/restore.ts'
import { addStatus } from '../../src/cli/status.ts'
import { addWarm } from '../../src/cli/warm.ts'
import { unknownVariables } from '../../src/config/unknown-variables.ts'

describe('variables that look like those of serve', () => {
  it('are unknown if no flag and no other command reads them, and Kubernetes did not set them', () => {
    const environment = {
      NABO_UPSTREM: 'docker.io=http://127.0.0.1:5000',
      NABO_UPSTREAM: '',
      NABO_PEER_TLS: '',
      NABO_WARM_ZONE: 'a',
      NABO_DOCKER_CONFIG_FILE: '/x',
      NABO_SERVICE_HOST: '10.0.0.1',
      NABO_METRICS_SERVICE_PORT_HTTP: '7954',
      NABO_PORT: 'tcp://10.0.0.1:7954',
      NABO_PORT_7954_TCP_ADDR: '10.0.0.1',
      NABOKOV: '',
      PATH: '/bin',
    }
    assert.deepEqual(unknownVariables(environment), ['NABO_UPSTREM'])
    const own = new Command().addOption(new Option('--upstrem').env('NABO_UPSTREM'))
    assert.deepEqual(unknownVariables(environment, own), [])
  })

  it('are none that a command reads: one environment may hold them for all', () => {
    const program = new Command()
    for (const add of [addConfigure, addDoctor, addFind, addPeers, addPull, addRestore, addStatus, addWarm])
      add(program)
    const names = (command: Command): readonly string[] => [
      ...command.options.flatMap(({ envVar }) => envVar ?? []),
      ...command.commands.flatMap(names),
    ]
    const all = names(program)
    assert.ok(all.includes('NABO_PLATFORM') && all.includes('NABO_MODE'))
    assert.deepEqual(unknownVariables(Object.fromEntries(all.map((name) => [name, 'x']))), [])
  })
})
