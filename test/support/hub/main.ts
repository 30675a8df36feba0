// A hub in a process of its own, told what to do by its parent over the IPC channel. See start-hub.ts.
import { makeImage } from '../image-maker.ts'
import { createHub } from './create-hub.ts'
import type { Hub } from './hub.ts'
import type { HubCommand, HubOrder } from './protocol.ts'

let hub: Hub | undefined

async function obey(order: HubOrder): Promise<unknown> {
  if (order.call === 'start') {
    hub = await createHub(order.options)
    return { registryUrl: hub.registryUrl, authUrl: hub.authUrl, cdnUrl: hub.cdnUrl }
  }
  if (hub === undefined) throw new Error('not started')
  if (order.call === 'publish') return hub.publish(order.repository, order.tag, makeImage(order.recipe))
  if (order.call === 'retag') return hub.retag(order.repository, order.tag, order.digest)
  if (order.call === 'remove') return hub.remove(order.repository)
  if (order.call === 'setFaults') return hub.setFaults(order.faults)
  return hub[order.call]()
}

process.on('message', (command: HubCommand) => {
  obey(command).then(
    (value) => process.send?.({ id: command.id, value }),
    (error: unknown) => process.send?.({ id: command.id, error: String(error) }),
  )
})
process.on('disconnect', () => process.exit(0))
// Ctrl-C goes to every process of the terminal; the parent decides when the hub ends.
process.on('SIGINT', () => {})
